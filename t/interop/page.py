# The page of vmess_status in a real browser; called by page.t.
#
# Usage: page.py CHROMIUM ORIGIN [SHOTS]
#
# Prints "ok NAME" or "not ok NAME: WHY" for each check.  With SHOTS only
# pictures of the page are taken, into that directory.

import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import axe_playwright_python
from playwright.sync_api import sync_playwright

chromium, origin = sys.argv[1:3]
shots = sys.argv[3] if len(sys.argv) > 3 else None
axe = (Path(axe_playwright_python.__file__).parent / 'axe.min.js').read_text()
limit = 30000 * int(os.environ.get('TEST_VMESS_SCALE') or 1)


def ok(is_ok, name, why=''):
    text = f'{"ok" if is_ok else "not ok"} {name}' + ('' if is_ok else f': {why}')
    print(text.encode('unicode_escape').decode(), flush=True)


def same(got, want, name):
    ok(got == want, name, f'{got!r} is not {want!r}')


def get(path):
    with urllib.request.urlopen(origin + path) as answer:
        return json.load(answer)


def fetched(url):
    with urllib.request.urlopen(url) as answer:
        return answer.read().decode()


# a page, and what it does that it should not: "errors" is what may be said

@contextmanager
def opened(browser, name, path='/status/', errors=(), site=origin, **how):
    context = browser.new_context(**{'viewport': {'width': 1280, 'height': 900}, **how})
    if site == origin:
        context.grant_permissions(['clipboard-read', 'clipboard-write'], origin=origin)
    context.set_default_timeout(limit)
    page = context.new_page()
    said, requests = [], []
    page.on('console', lambda m: said.append(m.text) if m.type in ('error', 'warning') else None)
    page.on('pageerror', lambda e: said.append(str(e)))
    page.on('dialog', lambda d: (said.append(d.message), d.dismiss()))
    page.on('request', lambda r: requests.append(r.url))
    page.requests = requests
    page.goto(site + path)
    page.wait_for_selector('#list tbody tr')
    yield page
    said = [s for s in said if not any(e in s for e in errors)]
    same(said, [], f'{name}: nothing is said in the console')
    elsewhere = [u for u in requests if not u.startswith((site + '/', 'data:'))]
    same(elsewhere, [], f'{name}: nothing is asked for elsewhere')
    context.close()


def names(page):
    return page.eval_on_selector_all('#list [data-user]', 'l => l.map(b => b.textContent)')


# a wait of Playwright evaluates in the page, whose policy forbids it

def wait(page, text):
    end = time.monotonic() + limit / 1000
    while not page.evaluate(text):
        if time.monotonic() > end:
            raise TimeoutError(text)
        page.wait_for_timeout(50)


def until(page, text, name):
    try:
        wait(page, text)
        ok(True, name)
    except TimeoutError:
        ok(False, name, f'there is {names(page)[:5]}')


def serious(page, name):
    found = page.evaluate(axe + '; axe.run(document, {resultTypes: ["violations"]})')
    bad = [f'{v["id"]} {n["target"]} {n["failureSummary"]}' for v in found['violations']
           for n in v['nodes'] if v['impact'] in ('serious', 'critical')]
    same(bad, [], f'{name}: axe finds nothing serious')


def first_is(name):
    return f'document.querySelector("#list [data-user]")?.textContent === {json.dumps(name)}'


def open_user(page, name):
    page.fill('#name', name)
    wait(page, first_is(name))
    page.click('#list [data-user]')
    page.wait_for_selector('#facts div')


def lists(browser):
    with opened(browser, 'the list') as page:
        total = get('/status/json?users=0')['users']
        same(page.title(), 'VMess main', 'the title')
        same(page.inner_text('.tile:first-child b'), f'{total:,}', 'a tile tells how many users there are')
        same(len(names(page)), 50, 'a page of the list')

        page.fill('#name', 'user-0007')
        until(page, first_is('user-0007'), 'a filter by name')
        same(names(page), ['user-0007'], 'shows that user only')
        page.fill('#name', '')
        page.select_option('#status', 'disabled')
        until(page, first_is('user-0010'), 'a filter by state')
        page.select_option('#limit', '1000')
        want = get('/status/users?status=disabled&limit=1000&sort=name')['users']
        until(page, f'document.querySelectorAll("#list [data-user]").length === {len(want)}', 'a longer page')
        same(names(page), [u['name'] for u in want], 'has those users')

        page.select_option('#status', '')
        page.select_option('#limit', '50')
        page.click('[data-key=used]')
        page.wait_for_selector('th[aria-sort=descending] [data-key=used]')
        until(page, first_is('alice'), 'in the order of what was used')
        page.click('[data-key=used]')
        page.wait_for_selector('th[aria-sort=ascending] [data-key=used]')
        page.click('[data-key=name]')
        page.wait_for_selector('th[aria-sort=ascending] [data-key=name]')
        pages = [names(page)]
        page.click('#next')
        until(page, 'document.querySelector("#page").textContent === "page 2"', 'the next page')
        pages.append(names(page))
        page.click('#before')
        until(page, 'document.querySelector("#page").textContent === "page 1"', 'and back')
        same(names(page), pages[0], 'to the first')
        want = get('/status/users?limit=100&sort=name')['users']
        same(pages[0] + pages[1], [u['name'] for u in want], 'both are the first hundred')

        page.focus('#name')
        for _ in range(20):
            page.keyboard.press('Tab')
            if page.evaluate('document.activeElement.dataset.key') == 'flows':
                break
        page.keyboard.press('Enter')
        page.wait_for_selector('th[aria-sort=descending] [data-key=flows]')
        until(page, 'document.activeElement.dataset.key === "flows"', 'keys sort, and the focus stays')

        for id in ('carriers', 'verdicts', 'unknown', 'skew', 'fill', 'workers'):
            ok(page.locator(f'#{id} tbody tr').count(), f'there are {id}')
        ok('tcp' in page.inner_text('#carriers'), 'a carrier')
        same(page.locator('#hour svg polyline').count(), 2, 'a plot of two lines')


def strange(browser):
    with opened(browser, 'strange names') as page:
        page.select_option('#limit', '1000')
        want = [u['name'] for u in get('/status/users?limit=1000&sort=name')['users']]
        until(page, f'document.querySelectorAll("#list [data-user]").length === {len(want)}', 'all users')
        same(names(page), want, 'all names are shown as they are')
        odd = [n for n in want if not n.startswith('user-')]
        ok(len(odd) >= 8, 'strange ones are among them', odd)
        for n in odd:
            page.locator('#list [data-user]').nth(want.index(n)).click()
            page.wait_for_selector('#facts div')
            same(page.text_content('#user-title'), f'User {n}', f'{n!r} is opened')
            wait(page, 'document.querySelector("#user-hour").childNodes.length > 0')
            same(page.text_content('#user .failed'), '', 'without an error')
            page.keyboard.press('Escape')
        same(page.evaluate('[document.scripts.length, document.querySelectorAll("main img, main b > *").length]'),
             [1, 0], 'and no name has become markup')


def links(browser):
    with opened(browser, 'a user') as page:
        open_user(page, 'alice')
        page.wait_for_selector('#links .link img')
        wait(page, 'document.querySelectorAll("#user-hour polyline").length === 2')
        ok('echo' not in page.inner_text('#facts'), 'facts')
        page.wait_for_selector('#flows tbody td')
        ok('tcp' in page.inner_text('#flows'), 'a flow')
        link = page.input_value('#links .link:has(img) .copy input >> nth=0')
        ok(link.startswith('vmess://'), 'a link', link)
        page.click('#links .link:has(img) .copy button >> nth=0')
        wait(page, 'document.querySelector("#said").textContent === "Copied"')
        same(page.evaluate('navigator.clipboard.readText()'), link, 'it is copied')

        with tempfile.NamedTemporaryFile(suffix='.png') as f:
            page.locator('#links .link img').first.screenshot(path=f.name, scale='css')
            read = subprocess.run(['zbarimg', '-q', '--raw', f.name], capture_output=True, text=True)
        same(read.stdout.strip(), link, 'and is in the code')
        page.keyboard.press('Escape')
        until(page, '!document.querySelector("dialog[open]") && document.activeElement.dataset.user === "alice"',
              'Escape goes back to where it was opened')


def edits(browser):
    name = 'new<b>/名\U0001f600'
    with opened(browser, 'edits', errors=['status of 4']) as page:
        page.click('#add')
        page.fill('#field-name', name)
        page.fill('#field-id', 'x' * 40)
        page.click('#form [type=submit]')
        page.wait_for_selector('#field-id[aria-invalid=true]')
        ok('UUID' in page.inner_text('#edit .failed'), 'a sentence of the API', page.inner_text('#edit .failed'))
        page.click('#fields .with button')
        page.fill('#field-quota', '5g')
        page.fill('#field-max_ips', '3')
        page.click('#form [type=submit]')
        page.wait_for_selector('#edit:not([open])', state='attached')
        open_user(page, name)
        facts = page.inner_text('#facts')
        ok('0 B of 5 GiB' in facts and '0 of 3' in facts, 'a user is added', facts)

        page.click('#actions button >> text=Edit')
        page.fill('#field-quota', 'much')
        page.click('#form [type=submit]')
        page.wait_for_selector('#field-quota[aria-invalid=true]')
        page.fill('#field-quota', '6g')
        page.fill('#field-max_ips', '')
        page.click('#form [type=submit]')
        page.wait_for_selector('#facts >> text=0 B of 6 GiB')
        ok('of 3' not in page.inner_text('#facts'), 'and changed')

        page.click('#actions button >> text=Disable')
        ok(name in page.inner_text('#ask-title'), 'is it meant so?')
        same(page.evaluate('document.activeElement.textContent'), 'Cancel', 'the focus is on "Cancel"')
        page.click('#ask-yes')
        page.wait_for_selector('#facts >> text=disabled')
        page.click('#actions button >> text=Enable')
        page.wait_for_selector('#facts >> text=active')

        # others change it meanwhile
        page.click('#actions button >> text=Edit')
        page.fill('#field-class', 'gold')
        change(name, {'max_conns': 9})
        page.click('#form [type=submit]')
        page.wait_for_selector('#edit .failed:not([hidden])')
        ok('If-Match' in page.inner_text('#edit .failed'), 'a change by others is told',
           page.inner_text('#edit .failed'))
        page.click('#edit .close')

        address = page.input_value('#links .copy input >> nth=0')
        ok(address.startswith(origin + '/sub/') and fetched(address).startswith('dm1lc3M6'), 'a subscription', address)
        page.click('#links button >> text=New address')
        page.click('#ask-yes')
        wait(page, f'document.querySelector("#links .copy input").value !== {json.dumps(address)}')
        ok(fetched(page.input_value('#links .copy input >> nth=0')), 'has another address now')

        for what in ('End flows', 'Reset counters'):
            page.click(f'#actions button >> text={what}')
            page.click('#ask-yes')
            page.wait_for_selector('#ask:not([open])', state='attached')
            ok(True, what)

        page.click('#actions button >> text=Delete')
        page.click('#ask .close')
        ok(page.locator('#user[open]').count(), 'not deleted')
        page.click('#actions button >> text=Delete')
        page.click('#ask-yes')
        page.wait_for_selector('#user:not([open])', state='attached')
        page.wait_for_selector('#none:not([hidden])')
        same([u for u in get('/status/users?limit=2000')['users'] if u['name'] == name], [], 'a user is deleted')

        # a name that no path can tell
        page.fill('#name', '')
        page.click('#add')
        page.fill('#field-name', 'c/../d')
        page.click('#form [type=submit]')
        page.wait_for_selector('#edit:not([open])', state='attached')
        open_user(page, 'c/../d')
        page.click('#actions button >> text=Delete')
        page.click('#ask-yes')
        page.wait_for_selector('#none:not([hidden])')
        ok(True, 'a name with dots is added and deleted')

        page.fill('#name', 'alice')
        wait(page, first_is('alice'))
        page.click('#list [data-user]')
        page.wait_for_selector('#actions .note')
        same(page.eval_on_selector_all('#actions button', 'l => l.map(b => b.textContent)'),
             ['End flows', 'Reset counters'], 'what may be done to a user of the configuration')


def change(name, body):
    request = urllib.request.Request(origin + '/api/users', method='PATCH',
                                     headers={'Content-Type': 'application/json'},
                                     data=json.dumps({'users': [{'name': name, **body}]}).encode())
    urllib.request.urlopen(request).read()


def views(browser):
    with opened(browser, 'a status without an API', '/view') as page:
        ok(not page.locator('#add').is_visible(), 'no user can be added')
        open_user(page, 'alice')
        page.wait_for_selector('#user-hour polyline')
        same(page.locator('#actions *, #links *, #flows tbody *').count(), 0, 'nor changed, and there are no links')
        ok(not page.locator('#links-part').is_visible(), 'nor a title of them')

    # to a browser that is no secure site: it says an Origin only, and has no clipboard

    with opened(browser, 'plain http', site=origin.replace('127.0.0.1', 'page.test')) as page:
        ok(not page.evaluate('isSecureContext'), 'plain http')
        open_user(page, 'alice')
        page.wait_for_selector('#links .link img')
        page.click('#links .link:has(img) .copy button >> nth=0')
        wait(page, 'document.querySelector("#said").textContent === "Copied"')
        page.click('#actions button >> text=End flows')
        page.click('#ask-yes')
        page.wait_for_selector('#ask:not([open])', state='attached')
        ok(True, 'a link is copied, and flows are ended')

    with opened(browser, 'a wrong API', '/wrong/', errors=['status of 4']) as page:
        page.wait_for_selector('#failed:not([hidden])')
        ok('api=' in page.inner_text('#failed'), 'is told', page.inner_text('#failed'))

    with opened(browser, 'in Chinese', locale='zh-CN') as page:
        same(page.inner_text('#users-title'), '用户', 'titles')
        same(page.evaluate('document.documentElement.lang'), 'zh', 'the language is told')
        page.wait_for_selector('.tile')
        left = page.evaluate('''[...document.querySelectorAll("h2, h3, label > span, thead th, .tile > span, .state, "
            + "button:not([data-user]), #fill tbody th")].map((n) => n.textContent).filter((s) => /[a-z]{3}/i.test(s))''')
        same(left, [], 'nothing is left in English')


# with a clock of the test: the page asks on its own, but not while it is hidden

def asking(browser):
    with opened(browser, 'polling') as page:
        page.clock.install()
        page.reload()
        page.wait_for_selector('#list tbody tr')

        def asked():
            return len([u for u in page.requests if '/json' in u])

        def hide(hidden):
            page.evaluate(f'''Object.defineProperty(document, "hidden", {{ value: {hidden}, configurable: true }});
                              document.dispatchEvent(new Event("visibilitychange"))''')

        with page.expect_request('**/json*'):
            page.clock.run_for(60000)
        page.wait_for_load_state('networkidle')
        hide('true')
        before = asked()
        page.clock.run_for(600000)
        same(asked(), before, 'nothing is asked while the page is hidden')
        with page.expect_response('**/users?*'):
            hide('false')
        ok(asked() > before, 'and at once when it is seen')
        page.wait_for_load_state('networkidle')
        page.click('#pause')
        before = asked()
        page.clock.run_for(600000)
        same(asked(), before, 'nor when it is paused')


def accessible(browser):
    for scheme in ('light', 'dark'):
        for width in (390, 1280):
            name = f'{scheme}, {width}'
            with opened(browser, name, color_scheme=scheme,
                        viewport={'width': width, 'height': 844}) as page:
                page.wait_for_selector('#carriers td')
                same(page.evaluate('document.documentElement.scrollWidth'), width, f'{name}: nothing is too wide')
                serious(page, name)
                open_user(page, 'alice')
                page.wait_for_selector('#links .link img')
                same(page.evaluate('''(() => { const d = document.querySelector("#user");
                                       return d.scrollWidth <= d.clientWidth })()'''), True, f'{name}: nor in the dialog')
                serious(page, f'{name}, a user')
                page.keyboard.press('Escape')
                page.click('#add')
                serious(page, f'{name}, a form')


def pictures(browser):
    for scheme in ('light', 'dark'):
        for width in (390, 1280):
            context = browser.new_context(color_scheme=scheme, viewport={'width': width, 'height': 900})
            page = context.new_page()
            page.goto(origin + '/status/')
            page.wait_for_selector('#list tbody tr')
            page.screenshot(path=f'{shots}/{scheme}-{width}.png', full_page=width > 400)
            open_user(page, 'alice')
            page.wait_for_selector('#links .link img')
            page.screenshot(path=f'{shots}/{scheme}-{width}-user.png')
            page.keyboard.press('Escape')
            page.click('#add')
            page.screenshot(path=f'{shots}/{scheme}-{width}-add.png')
            context.close()


with sync_playwright() as p:
    browser = p.chromium.launch(executable_path=chromium, args=[
        '--no-sandbox', '--disable-dev-shm-usage', '--host-resolver-rules=MAP page.test 127.0.0.1'],
                                timeout=4 * limit)
    for check in [pictures] if shots else [lists, strange, links, edits, views, asking, accessible]:
        try:
            check(browser)
        except Exception as e:
            ok(False, check.__name__, ' '.join(str(e).split())[:600])
    browser.close()
