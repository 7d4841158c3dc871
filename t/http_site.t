# What is no VMess is the site's: requests to a location with "vmess_pass" and
# to the same location without are answered alike.

use lib "t/lib";
use TestVMess;

plan "no_plan";
no_shuffle();

run_tests();

__DATA__

=== TEST 1: other requests
--- servers
app http app
--- stream_config
server { vmess_listen ray; vmess main; proxy_pass vmess_target; }
--- http_config
log_format l '$status $request_length $http_host $server_port';
server {
    listen 127.0.0.1:%%PORT_2%%;
    listen 127.0.0.1:%%PORT_3%% http2;
    server_name site;
    log_not_found off;
    keepalive_requests 3;
    error_page 404 /page;
    location = /page { }
    location = /ray { alias html/page; add_header X-A b; }
    location /dir { root html; index page; }
    location /app { proxy_pass http://127.0.0.1:%%app%%; }
    location = /old { return 301 /ray; }
    location / { root html; }
}
server {
    listen 127.0.0.1:%%PORT_4%%;
    listen 127.0.0.1:%%PORT_5%% http2;
    server_name site;
    log_not_found off;
    keepalive_requests 3;
    error_page 404 /page;
    location = /page { }
    location = /ray { alias html/page; add_header X-A b; vmess_pass ray; }
    location /dir { root html; index page; vmess_pass ray websocket; }
    location /app { proxy_pass http://127.0.0.1:%%app%%; vmess_pass ray; }
    location = /old { return 301 /ray; vmess_pass ray; }
    location / { root html; vmess_pass ray httpupgrade; }
}
--- user_files
>>> page
a page of some length
--- stream_client
my @key = ('Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==');
my @version = ('Sec-WebSocket-Version: 13');
my @up = ('Connection: Upgrade', 'Upgrade: websocket');
my $bad = 'Sec-WebSocket-Protocol: ' . MIME::Base64::encode_base64url(
                                           pattern(200));
my @http = (
    'GET /ray', 'HEAD /ray', 'POST /ray', 'PUT /ray', 'DELETE /ray',
    'OPTIONS /ray', 'OPTIONS *', 'BREW /ray', 'TRACE /ray', 'CONNECT a:1',
    'GET /ray?a=b', 'GET /ray/', 'GET /ray/x', 'GET /rayx', 'GET /RAY',
    'GET //ray', 'GET /./ray', 'GET /dir', 'GET /dir/', 'GET /dir/x/y',
    'GET /app', 'GET /app/x', 'GET /old', 'GET /', 'GET /x', 'GET /%72ay',
    'GET http://site/ray',
);
my @case = (
    (map { [$_] } @http),
    (map { [$_, @up, @version, @key] }
         grep { !m{^GET (/ray(\?a=b)?|//ray|/\./ray|/%72ay|/dir/?|/app|/old|http:\S*)$}
                } @http),
    ['GET /ray', 'Range: bytes=2-5'],
    ['GET /ray', 'Range: bytes=9999-'],
    ['GET /ray', 'If-Modified-Since: Fri, 01 Jan 2100 00:00:00 GMT'],
    ['GET /ray', 'Accept-Encoding: gzip'],
    ['GET /ray', 'Connection: close'],
    ['GET /ray', 'Connection: keep-alive', 'Keep-Alive: 300'],
    ['GET /ray', 'Expect: 100-continue', 'Content-Length: 0'],
    ['GET /ray', @up, @version],
    ['GET /app', @up, @version, 'Content-Length: 5'],
    ['GET /ray', @up, @key],
    (map { ['GET /ray', @up, @key, "Sec-WebSocket-Version: $_"] }
         7, 8, 12, 14, 130, '"13"', '13, 8', ''),
    (map { ['GET /ray', @up, @version, "Sec-WebSocket-Key: $_"] }
         '', 'x', 'dGhlIHNhbXBsZSBub25jZQ=', 'dGhlIHNhbXBsZSBub25jZQ===',
         'dGhlIHNhbXBsZSBub25jZQ==x'),
    ['GET /ray', 'Upgrade: websocket', @version, @key],
    ['GET /ray', 'Connection: Upgrade', @version, @key],
    ['GET /ray', 'Connection: close', 'Upgrade: websocket', @version, @key],
    ['GET /ray', 'Connection: Upgrade', 'Upgrade: h2c', @version, @key],
    ['GET /ray', 'Connection: Upgrade', 'Upgrade: websocket2', @version, @key],
    ['GET /ray', 'Connection: Upgrade, HTTP2-Settings', 'Upgrade: h2c',
     'HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA'],
    ['GET /ray', @up, @version, @key, $bad],
    ['GET /old', @up, @version, @key, $bad],
    ['GET /dir', @up],
    ['GET /x', @up],
    ['GET /app/' . 'A' x 30, @up, @version, @key],
    ['GET /app/page.html', @up, @version, @key],
    (map { ['GET /ray', "Referer: http://site/?x_padding=" . 'X' x $_] }
         0, 99, 100, 1000, 1001),
    (map { ['GET /app/sid', "Referer: http://site/?x_padding=" . 'X' x $_] }
         0, 99, 1001),
    (map { ["$_ /app/sid/0", "Referer: http://site/?x_padding=" . 'X' x 200] }
         qw(HEAD OPTIONS GET)),
    ['GET /app/?x_padding=' . 'X' x 200],
    ['GET /app/sid?x_padding=' . 'X' x 200, 'Referer: http://site/'],
    ['POST /app/sid/0?x_padding=' . 'X' x 99, 'Content-Length: 0'],
    ['GET /ray', 'Host: a b'],
    ['GET /ray', 'Host: site', 'Host: other'],
    ['GET /ray', 'X: ' . 'y' x 9000],
    ['GET /ray', "X\0y: z"],
);

# the request and another behind it, so that the reuse of the connection shows
my $ask = sub {
    my ($port, $bytes) = @_;
    my $s = tcp($port);
    put($s, $bytes);
    my $all = slurp($s);
    $all =~ s/^Date: .*\r\n//mg;
    $all =~ s/:$port\b/:PORT/g;
    return $all;
};

my $last = "GET /page HTTP/1.1\r\nHost: site\r\nConnection: close\r\n\r\n";
my ($n, $reused) = (0, 0);
my $same = sub {
    my ($name, $bytes) = @_;
    my ($site, $ours) = map { $ask->(stream_port() + $_, $bytes) } 2, 4;
    $n++;
    $reused++ if (() = $site =~ m{^HTTP/1.1 }mg) > 1;
    is($ours, $site, $name);
    return $site;
};

for my $case (@case) {
    my ($line, @headers) = @$case;
    my $host = grep { /^Host:/ } @headers;
    for my $version ('1.1', '1.0') {
        $same->("$line $version " . substr("@headers", 0, 70),
                join("\r\n", "$line HTTP/$version", $host ? () : 'Host: site',
                     @headers) . "\r\n\r\n$last");
    }
}

# bodies, pipelines, what is no HTTP
my $up = join("\r\n", @up, @version, @key);
$same->('a body', "POST /ray HTTP/1.1\r\nHost: site\r\nContent-Length: 5\r\n"
                  . "\r\nhello$last");
$same->('a chunked body', "POST /ray HTTP/1.1\r\nHost: site\r\n"
        . "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n$last");
$same->('an upgrade with a body', "GET /ray HTTP/1.1\r\nHost: site\r\n$up\r\n"
        . "Content-Length: 5\r\n\r\nhello$last");
$same->('an upgrade with a chunked body', "GET /ray HTTP/1.1\r\nHost: site\r\n"
        . "$up\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n$last");
my $padding = 'Referer: http://site/?x_padding=' . 'X' x 200;
$same->('both in one with a length', "POST /app HTTP/1.1\r\nHost: site\r\n"
        . "$padding\r\nContent-Length: 5\r\n\r\nhello$last");
$same->("a packet, $_", "POST /app/sid/$_ HTTP/1.1\r\nHost: site\r\n$padding"
        . "\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n$last")
    for qw(x -1 1x 99999999999999999999);
$same->('a packet with too little padding', "POST /app/sid/0 HTTP/1.1\r\n"
        . "Host: site\r\n" . substr($padding, 0, -101)
        . "\r\nContent-Length: 5\r\n\r\nhello$last");
$same->('no VMess in both in one', "POST /app HTTP/1.1\r\nHost: site\r\n"
        . "$padding\r\nTransfer-Encoding: chunked\r\n\r\n"
        . "5\r\nhello\r\n0\r\n\r\n$last");
$same->('four requests', "GET /ray HTTP/1.1\r\nHost: site\r\n\r\n" x 4 . $last);
$same->('a pipeline that ends in a bad upgrade',
        "GET /ray HTTP/1.1\r\nHost: site\r\n\r\n" x 2
        . "GET /ray HTTP/1.1\r\nHost: site\r\n$up\r\n$bad\r\n\r\n$last");
$same->('HTTP/0.9', "GET /ray\r\n");
$same->('no HTTP', "hello\r\n\r\n");
$same->('lines that end in LF', "GET /ray HTTP/1.1\nHost: site\n\n$last");
$same->('HTTP/2 in clear', "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
cmp_ok($n, '>', 100, "$n requests");
cmp_ok($reused, '>', 30, "$reused on connections that went on");

# HTTP/2
SKIP: {
    my $curl = `curl -V 2>/dev/null`;
    skip 'no curl with HTTP/2', 1 unless $curl =~ /HTTP2/;
    for my $path (qw(/ray /ray/x /dir/ /app /)) {
        my ($site, $ours) = map {
            my $port = stream_port() + $_;
            my $out = `curl -s -i --max-time 20 --http2-prior-knowledge -H 'Upgrade: websocket' -H 'Sec-WebSocket-Version: 13' -H '@key' http://127.0.0.1:$port$path`;
            $out =~ s/^date: .*\r\n//mg;
            $out =~ s/:$port\b/:PORT/g;
            $out;
        } 3, 5;
        is($ours, $site, "HTTP/2 $path");
        like($site, qr{^HTTP/2 }, 'is HTTP/2');
    }
}


=== TEST 2: where the module is off, and where it comes last
--- stream_config
server { vmess_listen ray; vmess main; proxy_pass vmess_target; }
--- config
log_not_found off;
location = /denied { deny all; vmess_pass ray; }
location = /auth {
    auth_basic a; auth_basic_user_file %%DIR%%/none; vmess_pass ray;
}
location /a { vmess_pass ray; location /a/b { } }
location = /try { vmess_pass ray; try_files /none @try; }
location @try { vmess_pass ray; }
location ~ ^/re/(.*)$ { vmess_pass ray; }
--- stream_client
is(ws(path => '/denied')->status, 403, 'denied before');
is(ws(path => '/auth')->status, 401, 'not authorized');
is(ws(path => '/a')->status, 101, 'a location');
is(ws(path => '/a/b')->status, 404, 'not inherited by those inside');
is(ws(path => '/try')->status, 101, 'before try_files');
is(ws(path => '/re/anything')->status, 101, 'a regular expression');
ws(path => '/re/anything', upgrade => 1)->status;
--- stream_response: 101
