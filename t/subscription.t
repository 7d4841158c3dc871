# vmess_subscription: formats by what a client asks for, headers, the page, tokens,
# and what everybody else gets.

use lib "t/lib";
use Encode ();
use TestVMess;
use MIME::Base64 qw(decode_base64 encode_base64url);
use VMess::API;
use VMess::HTTP2;
use VMess::Share qw(read_profile);

plan "no_plan";
no_shuffle();

our ($api, $http);

sub api {
    my ($method, $path, @o) = @_;
    $api //= VMess::API->new(connect => sub { tcp(http_port()) });
    my $a = $api->call($method, $path, @o);
    my @bad = splice @{ $api->{problems} };
    is("@bad", '', "$method $path is as the document says") if @bad;
    return $a;
}

sub token { return api(GET => "users/$_[0]")->{json}{token} }

# a request with headers

sub get {
    my ($path, %headers) = @_;
    my $method = delete $headers{method} // 'GET';
    my $port = delete $headers{port} // http_port();
    $http = VMess::API->new(connect => sub { tcp($port) }, base => '');
    return $http->request($method => $path, undef, %headers);
}

# all of an answer that does not depend on when it was made

sub whole {
    my ($a) = @_;
    return join "\n", $a->{status}, (map { "$_: $a->{header}{$_}" }
                                     grep { $_ ne 'date' } sort keys %{ $a->{header} }), $a->{text};
}

# the servers of a profile, by names

sub servers {
    my ($format, $a) = @_;
    my %servers = map { $_->{name} => "$_->{server}:$_->{port} $_->{network} $_->{uuid}" }
                  read_profile($format, $a->{text});
    return join '; ', map { "$_ $servers{$_}" } sort keys %servers;
}

sub refused {
    my ($name, $want, $location) = @_;
    my ($status, $out) = nginx_t('vmess_users main:1m { alice %%ALICE%%; }',
        main => 'http { server { listen 127.0.0.1:' . (stream_port() + 1) . "; $location } }");
    isnt($status, 0, "$name: is refused") or return;
    like($out, $want, "$name: and why");
}

run_tests();

__DATA__

=== TEST 1: formats
--- config
location /api/ { vmess_api main write; }
location /sub/ { vmess_subscription main; }
location /ray { vmess_pass ray websocket; vmess_share cdn.example:443 tls=on name=ws; vmess_share cdn.example:443 tls=on
                external transport=xhttp path=/x name=xhttp; }
--- stream_config
vmess_users main:1m { alice %%ALICE%%; bob %%BOB%% token=0123456789abcdef; }
server { vmess_listen ray; vmess main; proxy_pass vmess_target; }
--- stream_server_config
vmess main;
proxy_pass vmess_target;
vmess_share tcp.example:80 name=tcp;
--- stream_client
my $path = '/sub/' . token('alice');
my $tcp = "tcp tcp.example:80 tcp $User{alice}";
my $ws = "ws cdn.example:443 ws $User{alice}";
my $xhttp = "xhttp cdn.example:443 xhttp $User{alice}";

for (['', v2rayn => 'text/plain; charset=utf-8', "$tcp; $ws; $xhttp"],
     ['v2rayNG/1.9.39', v2rayn => 'text/plain; charset=utf-8', "$tcp; $ws; $xhttp"],
     ['Shadowrocket/2070', shadowrocket => 'text/plain; charset=utf-8', "$tcp; $ws; $xhttp"],
     ['ClashMetaForAndroid/2.11', mihomo => 'text/yaml; charset=utf-8', "$tcp; $ws"],
     ['ClashforWindows/0.20', clash => 'text/yaml; charset=utf-8', "$tcp; $ws"],
     ['HiddifyNext/2.0 like ClashMeta', singbox => 'application/json', "$tcp; $ws"],
     ['Surge iOS/3272', surge => 'text/plain; charset=utf-8', "$tcp; $ws"],
     ['Quantumult%20X/1.5', qx => 'text/plain; charset=utf-8', "$tcp; $ws"],
     ['Loon/762', loon => 'text/plain; charset=utf-8', "$tcp; $ws"])
{
    my ($agent, $format, $type, $want) = @$_;
    my $a = get($path, 'User-Agent' => $agent, Accept => '*/*');
    is("$a->{status} $a->{header}{'content-type'}", "200 $type", "$agent: the type");
    is(servers($format, $a), $want, 'and the servers');
    is($a->{header}{'content-length'}, length $a->{text}, 'and the length');

    my $head = get($path, method => 'HEAD', 'User-Agent' => $agent, Accept => '*/*');
    is(whole({ %$head, text => $a->{text} }), whole($a), 'HEAD is the same without a body');
    is($head->{text}, '', 'of which there is none');
}

like(get($path, 'User-Agent' => 'mihomo/1.19')->{text}, qr/^# .*xhttp/m, 'what is left out is named');
is(get("$path?format=loon", Accept => 'text/html', 'User-Agent' => 'mihomo/1')->{text},
   get($path, 'User-Agent' => 'Loon/762')->{text}, 'the argument comes first');
like(get($path, Accept => 'text/html', 'User-Agent' => 'mihomo/1')->{header}{'content-type'}, qr/^text.html/, 'then Accept');
like(get('/sub/0123456789abcdef?format=surge')->{text}, qr/$User{bob}/, 'a token that was given');
--- stream_response: 1


=== TEST 2: headers, and what is used
--- config
location /api/ { vmess_api main write; }
location /sub/ { vmess_subscription main; }
location /own/ { vmess_subscription main 'title=Proxy "A\B" 代理' interval=36h url=https://a.example/s/; }
--- servers
echo echo
--- stream_config
vmess_users main:1m { alice %%ALICE%% quota=2k quota_reset=month expires=2040-01-31; bob %%BOB%% hold=30d; }
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my $token = token('alice');
my $h = get("/sub/$token")->{header};

is($h->{'subscription-userinfo'}, 'upload=0; download=0; total=2048; expire=2211580800', 'nothing is used');
is($h->{'profile-update-interval'}, 12, 'the interval');
is($h->{'profile-title'}, 'alice', 'the title');
is($h->{'content-disposition'}, q(attachment; filename="alice"; filename*=UTF-8''alice), 'the name');
is($h->{'cache-control'}, 'no-store', 'it is not kept');
is($h->{'profile-web-page-url'}, "http://localhost/sub/$token", 'the page');

is(get('/sub/' . token('bob'))->{header}{'subscription-userinfo'}, 'upload=0; download=0; total=0; expire=0', 'no limits');

my $f = flow(to => 'echo', data => 'x' x 100);
is($f->read(100), 'x' x 100, 'a flow');
$f->close;
wait_for(sub { api(GET => 'users/alice')->{json}{down} == 100 });
is(get("/sub/$token")->{header}{'subscription-userinfo'}, 'upload=100; download=100; total=2048; expire=2211580800', 'counts');

$h = get("/own/$token")->{header};
is($h->{'profile-update-interval'}, 36, 'an interval that is given');
is(decode_base64($h->{'profile-title'} =~ s/^base64://r), 'Proxy "A\B" 代理', 'a title that is given');
is($h->{'content-disposition'}, q(attachment; filename="Proxy _A_B_ __"; filename*=UTF-8'') . 'Proxy%20%22A%5CB%22%20%E4%BB%A3%E7%90%86',
   'and the name');
is($h->{'profile-web-page-url'}, "https://a.example/s/$token", 'an address that is given');

$f = flow(to => 'echo', data => 'x' x 2000);
$f->read_eof;
wait_for(sub { api(GET => 'users/alice')->{json}{status} eq 'limited' });
my $a = get("/sub/$token", Accept => 'text/html');
is($a->{status}, 200, 'who has used all up is told so');
like($a->{text}, qr/the traffic is used up/, 'and why');
like($a->{text}, qr{<dt>Begins anew</dt><dd>20\d\d-\d\d-01 00:00 UTC</dd>}, 'and until when');
my ($up, $down, $total) = $a->{header}{'subscription-userinfo'} =~ /upload=(\d+); download=(\d+); total=(\d+)/;
cmp_ok($up + $down, '>=', $total, 'in numbers');
--- stream_response: 1


=== TEST 3: everybody else gets the site
--- http_config
server { listen 127.0.0.1:%%PORT_2%%; location / { return 200 "site $request_method $uri\n"; } }
server { listen 127.0.0.1:%%PORT_3%%;
         location /sub/ { proxy_pass http://127.0.0.1:%%PORT_2%%; vmess_subscription main; }
         location /api/ { vmess_api main write; } }
server { listen 127.0.0.1:%%PORT_4%%;
         location /sub/ { proxy_pass http://127.0.0.1:%%PORT_2%%; } }
server { listen 127.0.0.1:%%PORT_5%%; location /sub { vmess_subscription main; } }
server { listen 127.0.0.1:%%PORT_6%%; location /sub { } }
server { listen 127.0.0.1:%%PORT_7%%;
         location /sub { if ($http_x_no) { return 404; } if ($http_x_yes) { add_header X-Yes yes; } vmess_subscription main; } }
limit_req_zone all zone=one:1m rate=1r/m;
--- config
location /api/ { vmess_api main write; }
location /sub/ { vmess_subscription main; log_not_found off; location /sub/in/ { } }
location /limited/ { vmess_subscription main; limit_req zone=one; }
--- stream_config
vmess_users main:1m { alice %%ALICE%%; bob %%BOB%% disabled; }
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my ($alice, $bob) = (token('alice'), token('bob'));
my @ports = map { stream_port() + $_ } 3 .. 6;

for my $path ('', 'x', 'a' x 16, 'a' x 22, 'a' x 47, 'a' x 48, 'a' x 5000, $bob, "x$alice", "${alice}x", lc($alice) . 'A', "$alice/",
              "$alice/x", substr($alice, 0, 21), '%00' . $alice, '?' . $alice)
{
    my @a = map { get("/sub/$path", port => $_) } @ports;
    is(whole($a[0]), whole($a[1]), "'" . substr($path, 0, 50) . "': behind a proxy");
    is(whole($a[2]), whole($a[3]), 'and in files');
}

like(get("/sub/$alice", port => $ports[0])->{text}, qr/^[A-Za-z0-9+\/=]*$/, 'a token is answered behind a proxy');
is(get("/sub/$alice", port => $ports[0])->{status}, 200, 'with success');
is(get("/sub/$alice", port => $ports[2])->{header}{'profile-title'}, 'alice', 'in a location without a slash');
is(get("/sub$alice", port => $ports[2])->{status}, 200, 'that is the token, too');
is(get("/sub/$alice", port => stream_port() + 7)->{status}, 200, 'a location with "if"');
is(get("/sub/$alice", port => stream_port() + 7, 'X-Yes' => 1)->{header}{'profile-title'}, 'alice', 'and within one');
is(get("/sub/$alice", port => stream_port() + 7, 'X-No' => 1)->{status}, 404, 'or out of it');
is(get("/sub/in/$alice")->{status}, 404, 'not in locations inside');

is(whole(get("/sub/$alice", method => 'POST', port => $ports[0])), whole(get("/sub/$alice", method => 'POST', port => $ports[1])),
   'POST is the site\'s');
is(get("/sub/$alice?format=x&flag=y")->{status}, 200, 'arguments do not matter');


# what nginx logs of a request

my $log = length error_log();
is(join(' ', map { get("/limited/$alice")->{status} } 1 .. 3), '200 503 503', 'a limit holds');
wait_log(qr/limiting requests/);
my ($line) = substr(error_log(), $log) =~ /(.*limiting requests.*)/;
like($line, qr{request: "GET /limited/\.\.\.", host: "localhost"$}, 'and its line in the log');
unlike(substr(error_log(), $log), qr/\Q$alice/, 'does not have the token');
1;
--- stream_response: 1


=== TEST 4: tokens change
--- config
location /api/ { vmess_api main write; }
location /sub/ { vmess_subscription main; log_not_found off; }
--- stream_config
vmess_users main:1m { alice %%ALICE%%; }
--- stream_server_config
vmess main;
proxy_pass vmess_target;
vmess_share tcp.example:80 name=tcp;
--- stream_client
my $id = '3a1f0a5e-0c55-4a6c-9a52-0e9b4f5d7c11';
my $status = sub { join ' ', map { get("/sub/$_")->{status} } @_ };
my $first = api(PUT => 'users/carol', { id => $id })->{json}{token};
is($status->($first), 200, 'a user is made');

my $second = api(POST => 'users/carol/token')->{json}{token};
is($status->($first, $second), '404 200', 'another token');
is(api(PATCH => 'users/carol', { token => 'x' x 16 })->{status}, 200, 'one that is given');
is($status->($first, $second, 'x' x 16), '404 404 200', 'is good');
is(api(PUT => 'users/dave', { id => '8c9e6679-7425-40de-944b-e07fc1f90ae7', token => 'x' x 16 })->{status}, 409, 'to two users');
is($status->('x' x 16), '200', 'is refused');
is(api(PATCH => 'users/carol', { disabled => JSON::PP::true })->{status}, 200, 'who is disabled');
is($status->('x' x 16), '404', 'is not told anything');
is(api(DELETE => 'users/carol')->{status}, 204, 'a removal');
is($status->($first, $second, 'x' x 16), '404 404 404', 'ends all');

my $alice = token('alice');
reload();
is($status->($alice), 200, 'a reload changes nothing');
edit_conf(sub { s/(alice [^;]*)/$1 token=abcdefghijklmnop/ });
reload();
wait_for(sub { $status->($alice, 'abcdefghijklmnop') eq '404 200' });
is($status->($alice, 'abcdefghijklmnop'), '404 200', 'but for a token in the file');

# which counts, if a user of the API has it
is(api(PUT => 'users/dave', { id => $id, token => 'x' x 16 })->{status}, 201, 'a user with a token');
edit_conf(sub { s/abcdefghijklmnop/'x' x 16/e });
reload();
wait_for(sub { $status->('abcdefghijklmnop') eq '404' });
is(get('/sub/' . 'x' x 16)->{header}{'profile-title'}, 'alice', 'it is that of the file');
is(api(PATCH => 'users/dave', { token => undef })->{status}, 200, 'the other one gets another');
is($status->(token('dave')), '200', 'which is good');
--- stream_response: 1


=== TEST 5: the page
--- config
location /api/ { vmess_api main write; }
location /sub/ { vmess_subscription main 'title=</title><script>"&'; }
location /name/ { vmess_subscription main; }
location /long/ { vmess_subscription main url=https://a.example/LONG/; }
--- stream_config
vmess_users main:1m { alice %%ALICE%% quota=100g quota_reset=month expires=2040-01-31T18:00:00Z; <b>&x %%BOB%%; }
--- stream_server_config
vmess main;
proxy_pass vmess_target;
vmess_share tcp.example:80 'name=<i>&"tcp"';
--- stream_client
my $token = token('alice');
my $a = get("/sub/$token", Accept => 'text/html,*/*;q=0.8');
my $text = $a->{text};

is("$a->{status} $a->{header}{'content-type'}", '200 text/html; charset=utf-8', 'is HTML');
is($a->{header}{'content-length'}, length $text, 'as long as it says');
is($a->{header}{'content-disposition'}, undef, 'and no file');

my ($style) = $text =~ m{<style>(.*)</style>}s;
my $csp = $a->{header}{'content-security-policy'};
is($csp, "default-src 'none'; style-src 'sha256-" . MIME::Base64::encode_base64(Digest::SHA::sha256($style), '')
         . "'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'", 'its policy');
unlike($text, qr/\sstyle=|<script|<link|src=|\son\w+=/, 'it needs no more');
like($text, qr{<title>&lt;/title&gt;&lt;script&gt;&quot;&amp;</title>}, 'the title is escaped');
like($text, qr{<li>&lt;i&gt;&amp;&quot;tcp&quot;</li>}, 'and a server');
like($text, qr{<dt>Of</dt><dd>100\.0 GiB</dd>}, 'the quota');
like($text, qr{<dt>Expires</dt><dd>2040-01-31 18:00 UTC</dd>}, 'the end');
like($text, qr{<progress[^>]* value="0" max="107374182400">}, 'a bar');
like($text, qr{<svg.*</svg>}s, 'a code');
like($text, qr{value="http://localhost/sub/$token"}, 'the address');

my $url = "http%3A%2F%2Flocalhost%2Fsub%2F$token";
my $name = '%3C%2Ftitle%3E%3Cscript%3E%22%26';
like($text, qr{href="\Q$_\E"}, $_) for "clash://install-config?url=$url&amp;name=$name", "sing-box://import-remote-profile?url=$url#$name",
    "hiddify://import/http://localhost/sub/$token#$name", "v2rayng://install-sub?url=$url#$name", "loon://import?sub=$url",
    'shadowrocket://add/sub://' . encode_base64url("http://localhost/sub/$token") . "?remark=$name",
    "stash://install-config?url=$url&amp;name=$name",
    "quantumult-x:///add-resource?remote-resource=%7B%22server_remote%22%3A%5B%22$url%22%5D%7D";

$text = get('/name/' . token('%3Cb%3E&x'), Accept => 'text/html')->{text};
like($text, qr{<h1>&lt;b&gt;&amp;x</h1>}, 'a name of a user');
like($text, qr{<dt>Expires</dt><dd>never</dd>}, 'without limits');

edit_conf(sub { s{/LONG/}{'/' . 'x' x 3000 . '/'}e });
reload();
$text = get("/long/$token", Accept => 'text/html')->{text};
like($text, qr{</html>\n$}, 'a long address');
unlike($text, qr{<svg}, 'is in no code');

my $s = tcp(http_port());
put($s, "GET /sub/$token HTTP/1.1\r\nHost: a\"<>&b\r\nAccept: text/html\r\nConnection: close\r\n\r\n");
like(slurp($s), qr{value="http://a(?:%22|&quot;)(?:%3C|&lt;)(?:%3E|&gt;)&amp;b/}i,
     'one with any characters');
1;
--- stream_response: 1


=== TEST 6: what nginx -t says
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
refused('no such zone', qr/unknown zone "none" in "vmess_subscription"/, 'location /sub/ { vmess_subscription none; }');
refused('twice', qr/is duplicate/, 'location /sub/ { vmess_subscription main; vmess_subscription main; }');
refused("the location $_", qr/needs a location that is a prefix, such as/, "location $_ { vmess_subscription main; }")
    for '= /sub', '@sub', '~ ^/sub';
refused($_, qr/invalid parameter "\Q$_\E" in "vmess_subscription", it must be a text of 1 to 64 bytes/,
        "location /sub/ { vmess_subscription main '$_'; }") for 'title=', 'title=' . 'x' x 65, "title=a\tb";
refused($_, qr/invalid parameter "\Q$_\E" in "vmess_subscription", it must be what clients have before the token/,
        "location /sub/ { vmess_subscription main '$_'; }") for 'url=a.example/', 'url=https://a.example', 'url=https://a b/', 'url=';
refused($_, qr/invalid parameter "\Q$_\E" in "vmess_subscription", it must be a time from 1h to 365d/,
        "location /sub/ { vmess_subscription main $_; }") for 'interval=59m', 'interval=366d';
refused('an unknown one', qr/unknown parameter "color=" in "vmess_subscription", parameters are "title=", "url=", "interval="/,
        'location /sub/ { vmess_subscription main color=red; }');
--- stream_response: 1


=== TEST 7: TLS, HTTP/2 and requests in a row
--- http_config
server { listen 127.0.0.1:%%PORT_2%% ssl http2; ssl_certificate %%CERT%%; ssl_certificate_key %%KEY%%;
         location /sub/ { vmess_subscription main; } }
--- config
location /api/ { vmess_api main write; }
location /sub/ { vmess_subscription main; }
--- stream_config
vmess_users main:1m { alice %%ALICE%%; }
--- stream_server_config
vmess main;
proxy_pass vmess_target;
vmess_share tcp.example:80;
--- stream_client
my $path = '/sub/' . token('alice');
my $want = get($path)->{text};
my $port = stream_port() + 2;

my $s = tls(port => $port);
put($s, "GET $path HTTP/1.0\r\nHost: a.example:8443\r\n\r\n");
my $text = slurp($s);
like($text, qr{^Profile-Web-Page-Url: https://a\.example:8443$path\r$}m, 'its address has TLS');
like($text, qr/\Q$want\E$/, 'and the answer is the same');

my $c = VMess::HTTP2->new(tls(port => $port, SSL_alpn_protocols => ['h2']));

for my $method (qw(GET HEAD GET)) {
    my $r = $c->request($method, $path, authority => 'b.example', end => 1);
    is($r->status, 200, "$method over HTTP/2");
    is($r->header('profile-web-page-url'), "https://b.example$path", 'its address');
    is($r->header('content-length'), length $want, 'its length');
    is($r->rest, $method eq 'GET' ? $want : '', 'and the answer');
}

# one connection, with bodies that nobody reads

$s = tcp(http_port());
put($s, join '', map { "GET $path HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n$_\r\n\r\nabc" }
        'X: y', 'Connection: close');
is(scalar(my @n = slurp($s) =~ /\r\n\r\n\Q$want/g), 2, 'requests in a row');
1;
--- stream_response: 1


=== TEST 8: names in every format
--- config
location /api/ { vmess_api main write; }
location /sub/ { vmess_subscription main; }
--- stream_config
vmess_users main:1m { alice %%ALICE%%; }
--- stream_server_config
vmess main;
proxy_pass vmess_target;
vmess_share tcp.example:80 "name=$vmess_user";
vmess_share tcp.example:81 "name= '\"\\\n\r\t</script>, $vmess_user
";
--- stream_client
my @names = ("\x{540d}\x{524d}", "\x{1f600}\x{1f468}\x{1f469}", "\x{e9}" x 32, 'x' x 64, '</script><script>alert(1)',
             '<!--', 'a,b=c', '=,', '@lead', '#hash', '//comment', ';semicolon', '[section]', '-', '{a:b}', 'a:b', '&anchor',
             '*alias', '!tag', '%41+', '?&=#/', '${x}', 'vmess://abc', '|pipe', '{{a}}', 'null', 'true', '1e3', '0x10', '~',
             'http://a//b', 'DIRECT', 'Proxy', "\x{10fffd}");
is(api(PATCH => 'users', { users => [map { { name => $names[$_], id => sprintf '%08x-0000-4000-8000-000000000001', $_ } } 0 .. $#names] })->{json}{added},
   scalar(@names), 'users');
my %user = map { $_->{name} => $_ } @{ api(GET => 'users?limit=100')->{json}{users} };

for my $n (0 .. $#names) {
    my $name = $names[$n];
    my ($id, $token) = @{ $user{$name} }{qw(id token)};
    my $bytes = Encode::encode('UTF-8', $name);

    for (['v2rayn'], ['uri'], ['shadowrocket'], ['mihomo'], ['clash'], [singbox => 'sing-box'], ['surge'], [qx => 'quantumult-x'], ['loon']) {
        my ($format, $word) = @$_;
        my @servers = eval { read_profile($format, get("/sub/$token?format=" . ($word // $format))->{text}) };
        is(join(' ', map { "$_->{server}:$_->{port} $_->{uuid}" } @servers), "tcp.example:80 $id tcp.example:81 $id", "name $n in $format");
        is($servers[0]{name}, $name, 'as it is')
            if $format !~ /^(surge|qx|loon)$/ && $name !~ /^(DIRECT|Proxy)$/;
    }

    my $a = get("/sub/$token", Accept => 'text/html');
    my $html = $bytes =~ s/&/&amp;/gr =~ s/</&lt;/gr =~ s/>/&gt;/gr;
    like($a->{text}, qr{<h1>\Q$html\E</h1>.*<li>\Q$html\E</li>}s, "name $n in the page");
    unlike($a->{text}, qr/<script|<!--/, 'where it is a text');

    my $h = get("/sub/$token")->{header};
    my $title = $h->{'profile-title'};
    is($title =~ s/^base64:(.*)$/decode_base64($1)/er, $bytes, "name $n as the title");
    is($h->{'content-disposition'} =~ /^attachment; filename="[^"\\\/]+"; filename\*=UTF-8''([\w.~%-]+)$/
       ? $1 =~ s/%([0-9A-F]{2})/chr hex $1/ger : '', $bytes, 'and as a file');
}
1;
--- stream_response: 1
