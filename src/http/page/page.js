"use strict";

// The page of vmess_status.  What comes from a server or a user is put into the
// page as text only, by make() and textContent, and never as markup.


// ---- languages: English texts are keys

const zh = {
  "Skip to users": "跳到用户", "Summary": "概览", "Pause": "暂停", "Paused": "已暂停",
  "Traffic of the last hour": "最近一小时流量", "Users": "用户",
  "Name has": "名称包含", "State": "状态", "Order": "排序", "Rows": "行数",
  "all": "全部", "active": "正常", "disabled": "已停用", "limited": "流量用尽",
  "expired": "已过期", "on_hold": "未启用", "Add user": "添加用户",
  "No user is like that.": "没有符合条件的用户。", "Pages of users": "用户分页",
  "First": "首页", "Previous": "上一页", "Next": "下一页", "Carriers": "传输方式",
  "Verdicts": "判定", "What unknown clients look like": "未知客户端的特征",
  "Clocks of clients": "客户端时钟", "Room in the zone": "共享内存占用",
  "Workers": "工作进程", "Close": "关闭", "Cancel": "取消", "Save": "保存",
  "Share links": "分享链接", "Flows open now": "当前连接",
  "An empty field is what vmess_user_defaults says.":
    "留空则采用 vmess_user_defaults 的值。",
  "nginx {0}, module {1}": "nginx {0}，模块 {1}", "counted since {0}": "统计始于 {0}",
  "updated {0}": "更新于 {0}", "Flows open": "当前连接", "Traffic up": "上行流量",
  "Traffic down": "下行流量", "Now": "当前速率", "Refused clients": "被拒客户端",
  "of them {0}": "其中 {0}", "in all": "累计", "{0} up, {1} down": "上行 {0}，下行 {1}",
  "up": "上行", "down": "下行", "minutes ago": "分钟前", "now": "现在",
  "{0} minutes ago": "{0} 分钟前", "at most {0} in a minute": "每分钟最多 {0}",
  "Name": "名称", "Up": "上行", "Down": "下行", "Used": "已用", "Flows": "连接",
  "Addresses": "地址", "Expires": "到期", "Last seen": "最近在线", "never": "从不",
  "page {0}": "第 {0} 页", "{0} of {1}": "{0} / {1}", "Carrier": "传输",
  "Open": "当前", "Opened": "累计", "Good headers": "有效请求",
  "Refused headers": "被拒请求", "Refused flows": "被拒连接", "Verdict": "判定",
  "Headers": "请求", "Looks like": "像是", "Clients": "客户端",
  "Difference": "偏差", "Behind": "偏慢", "Ahead": "偏快", "up to {0} s": "≤ {0} 秒",
  "more than {0} s": "> {0} 秒", "What for": "用途", "Taken": "占用",
  "users and ids": "用户和 ID", "replay filter": "重放过滤", "addresses": "地址",
  "histories": "历史", "Process": "进程", "Configuration": "配置代", "Connections": "连接",
  "nothing yet": "暂无", "User {0}": "用户 {0}", "Edit {0}": "编辑 {0}",
  "Edit": "编辑", "Disable": "停用", "Enable": "启用", "End flows": "断开连接",
  "Reset counters": "清零计数", "Delete": "删除", "Origin": "来源",
  "conf": "配置文件", "api": "API", "Id": "ID", "Quota": "流量限额",
  "Quota resets": "流量重置", "Period began": "周期开始", "Rate up": "上行限速",
  "Rate down": "下行限速", "First seen": "首次在线", "Refused": "被拒次数",
  "Class": "类别", "Tags": "标签", "Held until": "最迟启用", "Hold": "启用后时长",
  "Second id": "第二 ID", "until": "有效至", "off": "无限制",
  "This user is defined in the configuration: change it there.":
    "此用户在配置文件中定义：请在那里修改。",
  "Paths cannot tell this name: it can be edited and deleted only.":
    "此名称无法写成路径：只能编辑和删除。",
  "No history: others have more recent traffic, or there was none.":
    "没有历史：近期没有流量，或被其他用户占用。",
  "There is no vmess_share in the configuration.": "配置中没有 vmess_share。",
  "Copy": "复制", "Copied": "已复制", 
  "Could not copy, the text is selected": "无法复制，文本已选中",
  "Link {0}": "链接 {0}", "Subscription address": "订阅地址", "QR code of {0}": "{0} 的二维码",
  "New address": "更换地址", "Give {0} a new subscription address?": "为 {0} 更换订阅地址？",
  "Clients that have the old one get nothing any more.": "使用旧地址的客户端将无法再获取配置。",
  "Since": "开始", "Client": "客户端", "Target": "目标", "Network": "网络",
  "There are more flows.": "还有更多连接。", "{0} workers gave no answer.": "{0} 个进程没有应答。",
  "New": "生成", "Random id": "随机 ID", "Yes": "是",
  "Delete user {0}?": "删除用户 {0}？", "Its flows end, its counters are lost.":
    "其连接将断开，计数将丢失。",
  "End all flows of {0}?": "断开 {0} 的所有连接？",
  "Clients may connect again at once.": "客户端可以立即重新连接。",
  "Reset counters of {0}?": "清零 {0} 的计数？",
  "Traffic and what counts towards the quota begin at zero.": "流量及限额用量从零开始。",
  "Disable user {0}?": "停用用户 {0}？", "Its flows end.": "其连接将断开。",
  "Saved": "已保存", "Deleted": "已删除", "Done": "完成",
  "The server gave no answer: {0}": "服务器没有应答：{0}",
  "The server answered with status {0}.": "服务器返回状态 {0}。",
  "api= of vmess_status: {0}": "vmess_status 的 api=：{0}",
  "it is of the zone {0}": "它属于区域 {0}", "none": "无",
  "2027-01-31, or with a time": "2027-01-31，或带时间", "bytes: 100g": "字节数：100g",
  "never, day, week, month, month@15, year, 30d":
    "never、day、week、month、month@15、year、30d",
  "bytes a second: 2m": "每秒字节数：2m", "Flows at most": "最多连接",
  "Addresses at most": "最多地址", "30d, from the first flow on": "30d，从首次连接起",
  "a word for $vmess_class": "用于 $vmess_class 的词", "number": "数字",
  "sorted up": "升序", "sorted down": "降序", "{0} of {1} used": "已用 {0} / {1}",
};

const lang = (navigator.languages ?? [navigator.language])
  .map((l) => l.toLowerCase().split("-")[0]).find((l) => l === "zh" || l === "en") ?? "en";

function t(text, ...values) {
  const s = lang === "zh" ? zh[text] ?? text : text;
  return s.replace(/\{(\d)\}/g, (_, n) => values[n]);
}


// ---- elements

const $ = (id) => document.getElementById(id);

// make("td", { class: "n" }, "text", node...)

function make(name, attributes = {}, ...content) {
  return fill(document.createElement(name), attributes, content);
}

function draw(name, attributes = {}, ...content) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", name),
              attributes, content);
}

function fill(node, attributes, content) {
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) {
      node.addEventListener(key.slice(2), value);
    } else if (value === true) {
      node.setAttribute(key, "");
    } else if (value !== undefined && value !== null && value !== false) {
      node.setAttribute(key, value);
    }
  }
  node.append(...content.filter((c) => c !== null && c !== undefined));
  return node;
}

function button(text, onclick, attributes = {}) {
  return make("button", { type: "button", onclick, ...attributes }, text);
}

function fail(place, text) {
  place.textContent = text;
  place.hidden = !text;
}

// what a screen reader says, and all see for a moment

let saying;

function say(text) {
  clearTimeout(saying);
  const open = document.querySelector("dialog[open]:last-of-type") ?? document.body;
  open.append($("said"));
  $("said").textContent = text;
  saying = setTimeout(() => { $("said").textContent = ""; }, 3000);
}


// ---- numbers

const number = new Intl.NumberFormat(lang);
const short = new Intl.NumberFormat(lang, { maximumFractionDigits: 1 });
const moment = new Intl.DateTimeFormat(lang, { dateStyle: "medium", timeStyle: "short" });
const clock = new Intl.DateTimeFormat(lang, { timeStyle: "medium" });

function bytes(n) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
  let u = 0;
  while (n >= 1024 && u < units.length - 1) {
    n /= 1024;
    u++;
  }
  return `${n >= 100 || u === 0 ? number.format(Math.round(n)) : short.format(n)} ${units[u]}`;
}

const rate = (n) => n === null || n === "off" ? t("none") : `${bytes(n)}/s`;
const time = (text) => text === null ? t("never") : moment.format(new Date(text));
const sum = (object) => Object.values(object).reduce((a, b) => a + b, 0);

function limit(value) {
  return typeof value === "number" && value > 0 ? value : null;
}

// of what is used, with a bar if there is a limit

function share(used, size, format = number.format) {
  const max = limit(size);
  if (!max) {
    return [format(used)];
  }
  return [t("{0} of {1}", format(used), format(max)),
          make("meter", { min: 0, max: 1, low: .8, high: .95, optimum: 0,
                          value: Math.min(used / max, 1),
                          "aria-label": t("{0} of {1} used", format(used), format(max)) })];
}


// ---- requests

// the location, whichever path of it shows the page

const base = location.pathname.replace(/\/html$|\/$/, "") + "/";
let api = null;                            // the path of vmess_api, with "write"

async function ask(url, options = {}) {
  let answer, body = null;
  try {
    answer = await fetch(url, { cache: "no-store", redirect: "error", ...options,
                                signal: AbortSignal.timeout(30000) });
    if (answer.status !== 204) {
      body = await answer.json().catch(() => null);
    }
  } catch (e) {
    throw new Error(t("The server gave no answer: {0}", e.message));
  }
  if (!answer.ok || (body === null && answer.status !== 204)) {
    const error = new Error(body?.error?.text
      ?? t("The server answered with status {0}.", answer.status));
    error.field = body?.error?.field;
    error.status = answer.status;
    throw error;
  }
  return { body, etag: answer.headers.get("ETag") };
}

function send(method, path, body, headers = {}) {
  return ask(api + path, { method, headers: { "Content-Type": "application/json", ...headers },
                           body: body === undefined ? undefined : JSON.stringify(body) });
}

// nginx and browsers resolve slashes and dots, and the API has words at the end

function has_path(name) {
  return !/\/\/|(^|\/)\.{1,2}(\/|$)|^\/|\/$|\/(kick|reset|flows|links|token|history)$/.test(name);
}

const user_path = (name) => `users/${encodeURIComponent(name)}`;


// ---- tables

// columns: [title, class]; rows: arrays of texts, or of arrays of what is in a
// cell; the first one is the row's header

function table(node, columns, rows) {
  node.tHead.rows[0].replaceChildren(...columns.map(([title, style]) =>
    make("th", { scope: "col", class: style }, title)));

  const body = rows.map((row) => make("tr", {}, ...row.map((cell, i) =>
    make(i ? "td" : "th", { scope: i ? null : "row", class: columns[i][1] },
         ...[].concat(cell)))));

  if (!rows.length) {
    body.push(make("tr", {}, make("td", { class: "dim", colspan: columns.length },
                                  t("nothing yet"))));
  }
  node.tBodies[0].replaceChildren(...body);
}

// a bar that shows a part of the largest

function part(n, max) {
  return [make("meter", { min: 0, max: Math.max(max, 1), value: n, "aria-hidden": "true" })];
}


// ---- a plot of 60 minutes

function plot(place, hour) {
  const width = Math.max(300, place.clientWidth || 300), height = 180;
  const left = 62, right = 8, top = 8, bottom = 22;
  const n = hour.up.length;
  const most = Math.max(...hour.up, ...hour.down);
  const step = scale(most);
  const max = Math.max(Math.ceil(most / step), 1) * step;
  const x = (i) => left + i * (width - left - right) / (n - 1);
  const y = (v) => top + (1 - v / max) * (height - top - bottom);

  const total = t("{0} up, {1} down", bytes(sum(hour.up)), bytes(sum(hour.down)));
  const svg = draw("svg", { class: "plot", viewBox: `0 0 ${width} ${height}`, role: "img",
    "aria-label": `${t("Traffic of the last hour")}: ${total}; `
                  + t("at most {0} in a minute", bytes(most)) });

  for (let v = 0; v <= max; v += step) {
    svg.append(draw("line", { class: "grid", x1: left, x2: width - right, y1: y(v), y2: y(v) }),
               draw("text", { x: left - 6, y: y(v) + 4, "text-anchor": "end" }, bytes(v)));
  }

  for (const minutes of [60, 45, 30, 15]) {
    svg.append(draw("text", { x: x(n - minutes), y: height - 4,
                              "text-anchor": minutes === 60 ? "start" : "middle" },
                    `−${minutes}`));
  }
  svg.append(draw("text", { x: x(n - 1), y: height - 4, "text-anchor": "end" }, t("now")));

  for (const way of ["down", "up"]) {
    const points = hour[way].map((v, i) => `${x(i).toFixed(1)},${y(v).toFixed(1)}`).join(" ");
    svg.append(draw("polygon", { class: `area ${way}`,
                 points: `${x(0)},${y(0)} ${points} ${x(n - 1)},${y(0)}` }),
               draw("polyline", { class: `line ${way}`, points }));
  }

  const at = draw("line", { class: "at", y1: top, y2: height - bottom, visibility: "hidden" });
  const up = make("span", { class: "up" }), down = make("span", { class: "down" });
  const when = make("span", { class: "dim" });
  svg.append(at);

  const legend = (i) => {
    up.textContent = `${t("up")} ${bytes(i === null ? sum(hour.up) : hour.up[i])}`;
    down.textContent = `${t("down")} ${bytes(i === null ? sum(hour.down) : hour.down[i])}`;
    when.textContent = i === null ? "" : t("{0} minutes ago", n - 1 - i);
    at.setAttribute("visibility", i === null ? "hidden" : "visible");
    if (i !== null) {
      at.setAttribute("x1", x(i));
      at.setAttribute("x2", x(i));
    }
  };

  svg.addEventListener("pointermove", (e) => {
    const box = svg.getBoundingClientRect();
    const i = Math.round(((e.clientX - box.left) * width / box.width - left)
                         * (n - 1) / (width - left - right));
    legend(Math.min(Math.max(i, 0), n - 1));
  });
  svg.addEventListener("pointerleave", () => legend(null));
  legend(null);

  place.replaceChildren(make("p", { class: "legend" }, down, up, when), svg);
}

// 1, 2 or 5 of a unit, such that there are up to five steps

function scale(most) {
  let unit = 1;
  while (unit * 1024 <= most) {
    unit *= 1024;
  }
  for (let ten = 1; ; ten *= 10) {
    for (const m of [1, 2, 5]) {
      if (unit * ten * m * 4 >= most) {
        return unit * ten * m;
      }
    }
  }
}


// ---- the status

let status = null;

function show_status() {
  const s = status;

  document.title = `VMess ${s.zone}`;
  $("zone").textContent = s.zone;
  $("versions").textContent = `${t("nginx {0}, module {1}", s.nginx, s.version)}; `
                              + t("counted since {0}", time(s.since));
  $("fresh").textContent = t("updated {0}", clock.format(new Date(s.now)));

  const refused = s.carriers.reduce((n, c) => n + sum(c.headers) - (c.headers.ok ?? 0)
                                              + sum(c.refused), 0);
  const states = Object.entries(s.status).filter(([, n]) => n)
                       .map(([k, n]) => `${t(k)} ${number.format(n)}`).join(", ");

  // of the minute before, which is whole
  const second = (way) => `${bytes(s.hour[way][58] / 60)}/s`;

  $("tiles").replaceChildren(...[
    ["Users", number.format(s.users), states],
    ["Flows open", number.format(s.flows),
     t("of them {0}", s.carriers.filter((c) => c.flows)
       .map((c) => `${c.carrier} ${number.format(c.flows)}`).join(", ") || t("none"))],
    ["Traffic up", bytes(s.up), t("in all")],
    ["Traffic down", bytes(s.down), t("in all")],
    ["Now", second("down"), t("{0} up, {1} down", second("up"), second("down"))],
    ["Refused clients", number.format(refused), t("in all")],
  ].map(([title, value, note]) => make("div", { class: "tile" },
    make("span", {}, t(title)), make("b", {}, value), make("small", {}, note))));

  plot($("hour"), s.hour);

  const seen = s.carriers.filter((c) => c.total || c.flows || sum(c.headers) || sum(c.refused));

  table($("carriers"),
    [[t("Carrier")], [t("Open"), "n"], [t("Opened"), "n"], [t("Up"), "n"], [t("Down"), "n"],
     [t("Good headers"), "n"], [t("Refused headers"), "n"], [t("Refused flows"), "n"]],
    seen.map((c) => [c.carrier, number.format(c.flows), number.format(c.total), bytes(c.up),
                     bytes(c.down), number.format(c.headers.ok ?? 0),
                     number.format(sum(c.headers) - (c.headers.ok ?? 0)),
                     number.format(sum(c.refused))]));

  const verdicts = {};
  for (const c of s.carriers) {
    for (const key of ["headers", "refused"]) {
      for (const [word, n] of Object.entries(c[key])) {
        verdicts[word] = (verdicts[word] ?? 0) + n;
      }
    }
  }
  counts($("verdicts"), t("Verdict"), t("Headers"), verdicts);
  counts($("unknown"), t("Looks like"), t("Clients"), s.unknown);

  const { bounds, behind, ahead } = s.skew;
  const max = Math.max(...behind.counts, ...ahead.counts);
  table($("skew"), [[t("Difference")], [t("Behind"), "n"], ["", "share"], [t("Ahead"), "n"],
                    ["", "share"]],
    [...bounds, null].map((b, i) => [
      b === null ? t("more than {0} s", bounds[i - 1]) : t("up to {0} s", b),
      number.format(behind.counts[i]), part(behind.counts[i], max),
      number.format(ahead.counts[i]), part(ahead.counts[i], max)]));

  table($("fill"), [[t("What for")], [t("Taken")]],
    [["users and ids", s.memory, bytes], ["replay filter", s.replay],
     ["addresses", s.addresses], ["histories", s.history]]
    .map(([title, f, format]) => [t(title), share(f.used, f.size, format)]));

  table($("workers"), [[t("Process")], [t("Configuration"), "n"], [t("Connections"), "n"]],
    s.workers.map((w) => [String(w.pid), String(w.generation), number.format(w.connections)]));
}

function counts(node, title, unit, object) {
  const max = Math.max(...Object.values(object), 0);
  table(node, [[title], [unit, "n"], ["", "share"]],
        Object.entries(object).sort((a, b) => b[1] - a[1])
              .map(([k, n]) => [k, number.format(n), part(n, max)]));
}


// ---- the list of users, sorted, filtered and paged by the server

const columns = [
  ["Name", "name", "name"], ["State", null], ["Used", "used", "-used"],
  ["Up", "up", "-up"], ["Down", "down", "-down"], ["Flows", "flows", "-flows"],
  ["Addresses", "addresses", "-addresses"], ["Expires", "expires", "expires"],
  ["Last seen", "last_seen", "-last_seen"],
];
const fields = "name,status,origin,up,down,used,quota,flows,max_conns,addresses,max_ips,"
               + "expires,last_seen";

let sort = "name";
let pages = [""];                          // "after" of each page up to this one
let next = null;
let asked = 0;

function list_url() {
  const q = new URLSearchParams({ fields, sort, limit: $("limit").value });
  if ($("name").value) {
    q.set("name", $("name").value);
  }
  if ($("status").value) {
    q.set("status", $("status").value);
  }
  if (pages.length > 1) {
    q.set("after", pages.at(-1));
  }

  // nginx does not take a plus for a space
  return `${base}users?${q.toString().replaceAll("+", "%20")}`;
}

async function load_list() {
  const mine = ++asked;
  const { body } = await ask(list_url());

  if (mine === asked) {
    next = body.next;
    show_list(body.users);
  }
}

function show_list(users) {
  const head = $("list").tHead.rows[0];

  // the button that has the focus is made anew
  const { user: at, key: at_key } = document.activeElement?.dataset ?? {};

  head.replaceChildren(...columns.map(([title, key, order]) => {
    const mine = key && sort.replace("-", "") === key;
    return make("th", { scope: "col", role: "columnheader",
        "aria-sort": mine ? (sort[0] === "-" ? "descending" : "ascending") : null },
      key ? button(t(title) + (mine ? (sort[0] === "-" ? " ▼" : " ▲") : ""),
                   () => set_sort(mine ? turned(sort) : order), { "data-key": key })
          : t(title));
  }));

  $("list").tBodies[0].replaceChildren(...users.map((u) => {
    const cell = (i, ...content) => make("td", { role: "cell", "data-t-name": t(columns[i][0]) },
                                         ...content);
    return make("tr", { role: "row" },
      make("th", { scope: "row", role: "rowheader" },
           button(u.name, () => open_user(u.name), { "data-user": u.name })),
      make("td", { role: "cell", class: "state-cell" },
           make("span", { class: `state ${u.status}` }, t(u.status))),
      cell(2, ...share(u.used, u.quota, bytes)),
      cell(3, bytes(u.up)),
      cell(4, bytes(u.down)),
      cell(5, ...share(u.flows, u.max_conns)),
      cell(6, ...share(u.addresses, u.max_ips)),
      cell(7, time(u.expires)),
      cell(8, time(u.last_seen)));
  }));

  if (at !== undefined) {
    user_button(at)?.focus();
  } else if (at_key !== undefined) {
    head.querySelector(`[data-key=${at_key}]`)?.focus();
  }

  $("list").hidden = !users.length;
  $("none").hidden = users.length > 0;
  $("first").disabled = $("before").disabled = pages.length === 1;
  $("next").disabled = next === null;
  $("page").textContent = t("page {0}", pages.length);
}

function user_button(name) {
  return [...$("list").querySelectorAll("[data-user]")].find((b) => b.dataset.user === name);
}

const turned = (s) => s[0] === "-" ? s.slice(1) : `-${s}`;

function set_sort(order) {
  sort = order;
  if (![...$("order").options].some((o) => o.value === order)) {
    $("order").append(make("option", { value: order }, order_name(order)));
  }
  $("order").value = order;
  turn_page([""]).then(() => {
    $("list").querySelector(`[data-key=${order.replace("-", "")}]`)?.focus();
  });
}

function order_name(order) {
  const key = order.replace("-", "");
  const title = columns.find((c) => c[1] === key)[0];
  return `${t(title)} ${order[0] === "-" ? "▼" : "▲"}`;
}

async function turn_page(to) {
  pages = to;
  try {
    await load_list();
    fail($("failed"), "");
  } catch (e) {
    fail($("failed"), e.message);
  }
}


// ---- a user

let shown = null;                          // its name
let etag = null;

async function open_user(name) {
  shown = name;
  etag = null;
  $("user-title").textContent = t("User {0}", name);
  $("user-hour").textContent = "";
  for (const id of ["facts", "actions", "links"]) {
    $(id).replaceChildren();
  }
  $("links-part").hidden = $("flows-part").hidden = true;
  fail($("user").querySelector(".failed"), "");
  show_dialog($("user"));
  await load_user(true);
}

// all of it, or only what moves

async function load_user(all) {
  const name = shown;
  const failed = $("user").querySelector(".failed");

  try {
    const user = await get_user(name);
    if (name !== shown) {
      return;
    }
    if (all) {
      show_actions(user);
    }
    show_facts(user);
    if (!has_path(name)) {
      $("user-hour").replaceChildren(make("p", { class: "note" },
        t("Paths cannot tell this name: it can be edited and deleted only.")));
      return;
    }
    await Promise.all([load_hour(name), load_flows(name), all ? load_links(user) : null]);
    fail(failed, "");
  } catch (e) {
    if (name === shown) {
      fail(failed, e.message);
    }
  }
}

async function get_user(name) {
  if (api && has_path(name)) {
    const answer = await ask(api + user_path(name));
    etag = answer.etag;
    return answer.body;
  }

  // a part of a name is searched for

  const path = `users?sort=name&limit=1000&name=${encodeURIComponent(name)}`;
  const { body } = await ask((api ?? base) + path);
  const user = body.users.find((u) => u.name === name);
  if (!user) {
    throw new Error(t("No user is like that."));
  }
  return user;
}

function show_facts(u) {
  const facts = [
    ["State", make("span", { class: `state ${u.status}` }, t(u.status))],
    ["Origin", t(u.origin)],
    ["Used", ...share(u.used, u.quota, bytes)],
    ["Quota resets", u.quota_reset ?? t("never")],
    ["Up", bytes(u.up)], ["Down", bytes(u.down)],
    ["Flows", ...share(u.flows, u.max_conns)],
    ["Addresses", ...share(u.addresses, u.max_ips)],
    ["Rate up", rate(u.rate_up ?? u.rate)], ["Rate down", rate(u.rate_down ?? u.rate)],
    ["Expires", u.expires === "off" ? t("never") : time(u.expires)],
    ["First seen", time(u.first_seen)], ["Last seen", time(u.last_seen)],
    ["Refused", number.format(u.refused)],
  ];
  if (u.period) {
    facts.push(["Period began", time(u.period)]);
  }
  if (u.hold) {
    facts.push(["Hold", String(u.hold)]);
  }
  if (u.class) {
    facts.push(["Class", u.class]);
  }
  if (u.tags?.length) {
    facts.push(["Tags", u.tags.join(", ")]);
  }
  if (u.id) {
    facts.push(["Id", u.id]);
  }
  if (u.also) {
    facts.push(["Second id", `${u.also} (${t("until")} ${time(u.until)})`]);
  }

  $("facts").replaceChildren(...facts.map(([title, ...value]) =>
    make("div", {}, make("dt", {}, t(title)),
         make("dd", { class: /Id|id/.test(title) ? "long" : null }, ...value))));
}

function show_actions(u) {
  const list = [];

  if (api) {
    const own = u.origin === "api", path = has_path(u.name);

    if (own) {
      list.push(button(t("Edit"), () => edit_user(shown)),
                button(u.disabled ? t("Enable") : t("Disable"),
                       () => u.disabled ? change({ disabled: false }) : confirm_then(
                         t("Disable user {0}?", u.name), t("Its flows end."), t("Disable"),
                         () => change({ disabled: true }, true))));
    }
    if (path) {
      list.push(button(t("End flows"), () => confirm_then(
                  t("End all flows of {0}?", u.name), t("Clients may connect again at once."),
                  t("End flows"), () => send("POST", `${user_path(u.name)}/kick`))),
                button(t("Reset counters"), () => confirm_then(
                  t("Reset counters of {0}?", u.name),
                  t("Traffic and what counts towards the quota begin at zero."),
                  t("Reset counters"), () => send("POST", `${user_path(u.name)}/reset`))));
    }
    if (own) {
      list.push(button(t("Delete"), () => confirm_then(
        t("Delete user {0}?", u.name), t("Its flows end, its counters are lost."), t("Delete"),
        () => remove(u.name), true), { class: "danger" }));
    } else {
      list.push(make("span", { class: "note" },
        t("This user is defined in the configuration: change it there.")));
    }
  }
  const at = [...$("actions").children].indexOf(document.activeElement);
  $("actions").replaceChildren(...list);
  list[at]?.focus();
}

function patch(name, changes) {
  return has_path(name)
    ? send("PATCH", user_path(name), changes, etag ? { "If-Match": etag } : {})
    : send("PATCH", "users", { users: [{ name, ...changes }] });
}

function remove(name) {
  return has_path(name) ? send("DELETE", user_path(name))
                        : send("PATCH", "users", { users: [{ name, remove: true }] });
}

async function change(changes, throws) {
  try {
    await patch(shown, changes);
    say(t("Saved"));
  } catch (e) {
    if (throws) {
      throw e;
    }
    fail($("user").querySelector(".failed"), e.message);
    return;
  }
  await load_user(true);
  await turn_page(pages);
}

async function load_hour(name) {
  const { body } = await ask(`${base}${user_path(name)}/history`);
  if (name !== shown) {
    return;
  }
  if (body.known) {
    plot($("user-hour"), body);
  } else {
    $("user-hour").replaceChildren(make("p", { class: "note" },
      t("No history: others have more recent traffic, or there was none.")));
  }
}

async function load_flows(name) {
  if (!api) {
    return;
  }
  const { body } = await ask(`${api}${user_path(name)}/flows?limit=100`);
  if (name !== shown) {
    return;
  }
  table($("flows"), [[t("Since")], [t("Carrier")], [t("Client")], [t("Target")],
                     [t("Network")], [t("Up"), "n"], [t("Down"), "n"]],
    body.flows.map((f) => [time(f.since), f.carrier ?? "", f.client ?? "", f.target ?? "",
                           f.network, bytes(f.up), bytes(f.down)]));
  $("flows-more").textContent = [
    body.next === null ? "" : t("There are more flows."),
    body.missing ? t("{0} workers gave no answer.", body.missing) : ""].join(" ");
  $("flows-part").hidden = false;
}

async function load_links(user) {
  if (!api) {
    return;
  }
  const name = user.name;
  const { body } = await ask(`${api}${user_path(name)}/links?qr=v2rayn`);
  if (name !== shown) {
    return;
  }

  const list = body.links.map((l) => make("div", { class: "link" },
    l.qr ? make("img", { src: `data:image/svg+xml,${encodeURIComponent(l.qr)}`,
                         alt: t("QR code of {0}", l.name) }) : null,
    make("div", {}, make("b", {}, l.name), make("span", { class: "dim" }, ` ${l.transport}`),
         ...[["v2rayN", l.v2rayn], ["URI", l.uri], ["Shadowrocket", l.shadowrocket]]
           .filter(([, link]) => link)
           .map(([form, link]) => copied(t("Link {0}", form), link)))));

  if (user.token && status.subscription) {
    const address = new URL(status.subscription.replace(/\/?$/, "/")
                            + encodeURIComponent(user.token), location.href).href;
    list.unshift(make("div", { class: "link" },
      make("div", {}, copied(t("Subscription address"), address),
           user.origin === "api" ? button(t("New address"), () => confirm_then(
             t("Give {0} a new subscription address?", name),
             t("Clients that have the old one get nothing any more."), t("New address"),
             () => send("POST", `${user_path(name)}/token`))) : null)));
  }
  if (!list.length) {
    list.push(make("p", { class: "note" }, t("There is no vmess_share in the configuration.")));
  }
  $("links").replaceChildren(...list);
  $("links-part").hidden = false;
}

function copied(title, text) {
  const input = make("input", { readonly: true, value: text });
  return make("div", { class: "copy" },
    make("label", {}, title, input),
    button(t("Copy"), () => copy(input), { "aria-label": `${t("Copy")}: ${title}` }));
}

// without TLS browsers have no clipboard but that of old

async function copy(input) {
  input.select();
  let done = false;
  try {
    if (navigator.clipboard) {
      await navigator.clipboard.writeText(input.value);
      done = true;
    } else {
      done = document.execCommand("copy");
    }
  } catch (e) {
    done = false;
  }
  say(done ? t("Copied") : t("Could not copy, the text is selected"));
}


// ---- dialogs

function show_dialog(dialog) {
  fail(dialog.querySelector(".failed"), "");
  if (!dialog.open) {
    dialog.showModal();
  }
}

let confirmed = null;

function confirm_then(title, text, yes, action, closes = false) {
  $("ask-title").textContent = title;
  $("ask-text").textContent = text;
  $("ask-yes").textContent = yes;
  confirmed = { action, closes };
  show_dialog($("ask"));
  $("ask").querySelector(".close").focus();
}

async function confirm_yes() {
  const { action, closes } = confirmed;
  $("ask-yes").disabled = true;
  try {
    await action();
    $("ask").close();
    if (closes) {
      $("user").close();
    } else if (shown !== null) {
      await load_user(true);
    }
    say(closes ? t("Deleted") : t("Done"));
    await refresh();
  } catch (e) {
    fail($("ask").querySelector(".failed"), e.message);
  } finally {
    $("ask-yes").disabled = false;
  }
}

// key, title, hint; a flag has no hint

const parameters = [
  ["name", "Name", ""], ["id", "Id", ""], ["expires", "Expires", "2027-01-31, or with a time"],
  ["quota", "Quota", "bytes: 100g"],
  ["quota_reset", "Quota resets", "never, day, week, month, month@15, year, 30d"],
  ["rate_up", "Rate up", "bytes a second: 2m"], ["rate_down", "Rate down", "bytes a second: 2m"],
  ["max_conns", "Flows at most", "number"], ["max_ips", "Addresses at most", "number"],
  ["hold", "Hold", "30d, from the first flow on"],
  ["hold_until", "Held until", "2027-01-31, or with a time"],
  ["class", "Class", "a word for $vmess_class"], ["disabled", "disabled", null],
];

let edited = null;                         // { name, values } or of a new user {}

async function edit_user(name) {
  edited = { name, values: {} };
  $("edit-title").textContent = name === null ? t("Add user") : t("Edit {0}", name);

  if (name !== null) {
    try {
      edited.values = await get_user(name);
    } catch (e) {
      fail($("user").querySelector(".failed"), e.message);
      return;
    }
  }

  $("fields").replaceChildren(...parameters.filter(([key]) => key !== "name" || name === null)
    .map(([key, title, hint]) => field(key, title, hint, edited.values[key])));
  if (name === null) {
    $("field-id").value = random_id();
  }
  show_dialog($("edit"));
  $("fields").querySelector("input").focus();
}

function field(key, title, hint, value) {
  const id = `field-${key}`;

  if (hint === null) {
    return make("label", { class: "check" },
                make("input", { id, name: key, type: "checkbox", checked: value === true }),
                t(title));
  }

  const input = make("input", { id, name: key, value: value ?? "", autocomplete: "off",
                                spellcheck: "false", "aria-describedby": `${id}-hint`,
                                required: key === "name" || key === "id" });
  const line = key === "id"
    ? make("span", { class: "with" }, input,
           button(t("New"), () => { input.value = random_id(); },
                  { "aria-label": t("Random id") }))
    : input;

  return make("label", { for: id }, t(title), line,
              make("small", { id: `${id}-hint` }, t(hint)));
}

// crypto.randomUUID() is there with TLS only

function random_id() {
  const b = crypto.getRandomValues(new Uint8Array(16));
  b[6] = b[6] & 0x0f | 0x40;
  b[8] = b[8] & 0x3f | 0x80;
  const hex = [...b].map((v) => v.toString(16).padStart(2, "0")).join("");
  return hex.replace(/(.{8})(.{4})(.{4})(.{4})(.{12})/, "$1-$2-$3-$4-$5");
}

// what was changed only: a default that is sent back would be the user's own

function changes() {
  const out = {};
  for (const [key, , hint] of parameters) {
    const input = $(`field-${key}`);
    if (!input || !input.isConnected) {
      continue;
    }
    const before = edited.values[key];
    if (hint === null) {
      if (input.checked !== (before === true)) {
        out[key] = input.checked;
      }
      continue;
    }
    const value = key === "name" ? input.value : input.value.trim();
    if (value !== String(before ?? "")) {
      out[key] = value === "" ? null : /^max_/.test(key) && /^\d+$/.test(value) ? +value : value;
    }
  }
  return out;
}

async function save(e) {
  e.preventDefault();

  const out = changes();
  const { name } = edited;
  const failed = $("edit").querySelector(".failed");
  const submit = $("form").querySelector("[type=submit]");

  for (const input of $("fields").querySelectorAll("input")) {
    input.removeAttribute("aria-invalid");
  }
  submit.disabled = true;
  try {
    if (name !== null) {
      await patch(name, out);
    } else {
      const { name: made = "", ...body } = out;
      if (made && has_path(made)) {
        await send("PUT", user_path(made), body, { "If-None-Match": "*" });
      } else {
        await send("PATCH", "users", { users: [{ name: made, ...body }] });
      }
    }
    $("edit").close();
    say(t("Saved"));
    if (name !== null) {
      await load_user(true);
    }
    await refresh();
  } catch (error) {
    fail(failed, error.message);
    const input = error.field && $(`field-${error.field}`);
    if (input) {
      input.setAttribute("aria-invalid", "true");
      input.focus();
    }
  } finally {
    submit.disabled = false;
  }
}


// ---- asking again: not while hidden or paused, and longer apart if it takes long

const apart = 5000;
let timer = null, busy = false, again = false, checked = false;

async function refresh() {
  if (busy) {
    again = true;
    return;
  }
  busy = true;
  clearTimeout(timer);
  const start = performance.now();

  try {
    status = (await ask(`${base}json?users=0`)).body;
    if (!checked) {
      checked = true;
      await find_api();
    }
    show_status();
    await load_list();
    if ($("user").open && !$("edit").open && !$("ask").open) {
      await load_user(false);
    }
    fail($("failed"), found);
  } catch (e) {
    fail($("failed"), e.message);
  }

  busy = false;
  if (again) {
    again = false;
    await refresh();
    return;
  }
  plan(Math.max(apart, 10 * (performance.now() - start)));
}

function plan(delay) {
  clearTimeout(timer);
  if (!document.hidden && !paused()) {
    timer = setTimeout(refresh, delay);
  }
}

const paused = () => $("pause").getAttribute("aria-pressed") === "true";

// what is wrong with the API that the configuration names, if anything

let found = "";

async function find_api() {
  if (!status.api) {
    return;
  }
  const path = status.api.replace(/\/?$/, "/");
  try {
    const { body } = await ask(path);
    if (body.zone !== status.zone) {
      throw new Error(t("it is of the zone {0}", body.zone));
    }
    if (body.write) {
      api = path;
      $("add").hidden = false;
    }
  } catch (e) {
    found = t("api= of vmess_status: {0}", e.message);
  }
}


// ---- start

document.documentElement.lang = lang;

for (const node of document.querySelectorAll("[data-t]")) {
  node.textContent = t(node.textContent.trim());
}
for (const node of document.querySelectorAll("[data-t-label]")) {
  node.setAttribute("aria-label", t(node.getAttribute("aria-label")));
}

for (const name of ["table", "tHead", "tBody"]) {
  const node = name === "table" ? $("list") : name === "tHead" ? $("list").tHead
                                                               : $("list").tBodies[0];
  node.setAttribute("role", name === "table" ? "table" : "rowgroup");
}
$("list").tHead.rows[0].setAttribute("role", "row");

$("order").append(...columns.filter(([, key]) => key)
  .map(([, , order]) => make("option", { value: order }, order_name(order))));
$("order").addEventListener("change", () => set_sort($("order").value));

let typing;
$("filter").addEventListener("submit", (e) => e.preventDefault());
$("name").addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(() => turn_page([""]), 250);
});
$("status").addEventListener("change", () => turn_page([""]));
$("limit").addEventListener("change", () => turn_page([""]));
$("first").addEventListener("click", () => turn_page([""]));
$("before").addEventListener("click", () => turn_page(pages.slice(0, -1)));
$("next").addEventListener("click", () => turn_page([...pages, next]));
$("add").addEventListener("click", () => edit_user(null));
$("form").addEventListener("submit", save);
$("ask-yes").addEventListener("click", confirm_yes);

for (const dialog of document.querySelectorAll("dialog")) {
  dialog.querySelector(".close").addEventListener("click", () => dialog.close());
}
$("user").addEventListener("close", () => {
  user_button(shown)?.focus();
  shown = null;
});

$("pause").addEventListener("click", () => {
  const now = !paused();
  $("pause").setAttribute("aria-pressed", String(now));
  $("pause").textContent = now ? t("Paused") : t("Pause");
  if (now) {
    clearTimeout(timer);
  } else {
    refresh();
  }
});
document.addEventListener("visibilitychange", () => {
  if (document.hidden) {
    clearTimeout(timer);
  } else if (!paused()) {
    refresh();
  }
});

let drawn = window.innerWidth;
window.addEventListener("resize", () => {
  if (status && drawn !== window.innerWidth) {
    drawn = window.innerWidth;
    plot($("hour"), status.hour);
  }
});

refresh();
