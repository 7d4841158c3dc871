# vmess_pass beside the rewrite module: "return" is the content of the site.

use lib "t/lib";
use TestVMess;

plan "no_plan";
no_shuffle();

run_tests();

__DATA__

=== TEST 1: flows, and answers of the site
--- servers
echo echo
--- stream_config
server { vmess_listen ray; vmess main; proxy_pass vmess_target; }
--- config
location /ray {
    vmess_pass ray;
    set $answer site;
    if ($request_method = DELETE) { return 405; }
    if ($http_upgrade) { return 200 "upgrade of the $answer\n"; }
    return 404;
}
location /moved {
    vmess_pass ray;
    rewrite ^/moved(.*) /plain$1 last;
}
location /plain { return 200 "plain $uri\n"; }
location /denied { vmess_pass ray; deny all; return 200; }
rewrite ^/null(.*)$ /null/x$1;
--- stream_client
sub site {
    my ($request, @headers) = @_;
    my $s = tcp(http_port());
    put($s, join "\r\n", "$request HTTP/1.1", 'Host: a', 'Connection: close',
                         @headers, '', '');
    my ($head, $body) = split /\r\n\r\n/, slurp($s), 2;
    return join ' ', (split ' ', $head)[1], $body =~ /^<html>/ ? '-' : $body;
}
for my $path (qw(/ray /moved)) {
    for my $upgrade (0, 1) {
        my $f = flow(via => ws(path => $path, upgrade => $upgrade),
                     to => 'echo', data => 'hello');
        is($f->read(5), 'hello', 'a flow');
    }
}
my @ws = ('Upgrade: websocket', 'Sec-WebSocket-Version: 13',
          'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==');
is(site('GET /ray'), '404 -', 'no VMess');
is(site('DELETE /ray'), '405 -', 'no VMess, with "if"');
is(site('GET /ray', 'Upgrade: h2c'), "200 upgrade of the site\n",
   'another upgrade');
my $s = tcp(http_port());
put($s, join "\r\n", 'GET /ray HTTP/1.1', 'Host: a', 'Connection: upgrade', @ws,
                     'Sec-WebSocket-Protocol: ' . 'x' x 400, '', '');
like(read_n($s, 15), qr{^HTTP/1.1 200 OK}, 'early data of nobody');
is(site('GET /moved/x'), "200 plain /plain/x\n", 'rewritten');
is(site('PUT /moved/x', 'Content-Length: 0'), "200 plain /plain/x\n",
   'rewritten later');
is(site('POST /moved/x', 'Transfer-Encoding: chunked', '', '1', 'x', 0),
   "200 plain /plain/x\n", 'rewritten, with a body');
is(site('GET /denied'), '200 ', 'return comes before access');
is(site('GET /null'), '404 -', 'rules of the server');
is(wait_log(qr{open\(\) "\S*/html/null/x" failed|"\S*/null/x" is not found|/null/x}, 1), 1,
   'the rules are run');
unlike(error_log(), qr{null/x/x}, 'are run once');
--- no_error_log
[alert]


=== TEST 2: what access rules and limits refuse is answered as by the site
--- servers
echo echo
--- stream_config
server { vmess_listen ray; vmess main; proxy_pass vmess_target; }
--- http_config eval
my $conf = "limit_req_zone all zone=req:1m rate=1r/m;\n"
           . "limit_req_zone all zone=other:1m rate=1r/m;\n"
           . "limit_conn_zone all zone=conn:1m;\n";
for my $n (2, 3) {
    my $pass = $n == 3 ? 'vmess_pass ray;' : '';
    my $zone = $n == 3 ? 'req' : 'other';
    $conf .= "server {
        listen 127.0.0.1:%%PORT_$n%%;
        log_not_found off;
        location /deny/ { $pass deny all; return 404; }
        location /deny/not/ { $pass deny all; }
        location /auth/ { $pass auth_basic a; auth_basic_user_file none;
                          return 404; }
        location /auth/not/ { $pass auth_basic a; auth_basic_user_file none; }
        location /any/ { $pass satisfy any; deny all; auth_basic a;
                         auth_basic_user_file none; return 404; }
        location /any/not/ { $pass satisfy any; deny all; auth_basic a;
                             auth_basic_user_file none; }
        location /any/ok/ { $pass satisfy any; allow all; auth_basic a;
                            auth_basic_user_file none; }
        location /req/ { $pass limit_req zone=$zone; return 404; }
        location /req/not/ { $pass limit_req zone=$zone; }
        location /request/ { $pass auth_request /no; return 404; }
        location /request/not/ { $pass auth_request /no; }
        location = /no { internal; return 403; }
    }\n";
}
$conf;
--- user_files
>>> none
a:b
--- config
location = /alive { return 200; }
--- stream_client
my $padding = 'Referer: http://a/?x_padding=' . 'X' x 200;
my @ws = ('Connection: Upgrade', 'Upgrade: websocket',
          'Sec-WebSocket-Version: 13',
          'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==');
my @case = (
    ['GET'], ['PUT', 'Content-Length: 0'], ['PUT'],
    ['GET', 'Connection: Upgrade', 'Upgrade: foo'], ['GET', @ws],
    ['POST', 'Transfer-Encoding: chunked'],
    ['POST', 'Transfer-Encoding: chunked', $padding], ['GET', $padding],
);
my %seen;

# the limit of requests is used up
for my $n (2, 3) {
    my $s = tcp(stream_port() + $n);
    put($s, "GET /req/not/ HTTP/1.0\r\n\r\n");
    slurp($s);
}

for my $path (map { ("/$_/", "/$_/not/") } qw(deny auth any req request)) {
    for my $case (@case) {
        my ($method, @headers) = @$case;
        my ($site, $ours) = map {
            my $s = tcp(stream_port() + $_);
            my $body = $headers[0] =~ /chunked/ ? "1\r\nx\r\n0\r\n\r\n"
                       : $method eq 'PUT' && !@headers ? 'x' : '';
            put($s, join("\r\n", "$method ${path}sid HTTP/1.1", 'Host: a',
                         @headers, '', '') . $body);
            shutdown $s, 1;
            slurp($s) =~ s/^Date: .*\r\n//mgr;
        } 2, 3;
        is($ours, $site, "$method $path " . substr "@headers", 0, 60);
        $seen{$1} = 1 if $site =~ m{^HTTP/1.1 (\d+)};
    }
}
is(join(' ', sort keys %seen), '401 403 404 503', 'all answers');

# no client gets past them, and one that is allowed is a client
for my $path ('/deny/', '/any/', '/req/', '/request/') {
    is(VMess::WebSocket->new(tcp(stream_port() + 3), path => $path)->status,
       404, "a client at $path");
}
is(VMess::WebSocket->new(tcp(stream_port() + 3), path => '/any/ok/')->status,
   101, 'a client that is allowed');
--- no_error_log
[alert]


=== TEST 3: "if" and "limit_except" do not change what the location is
--- servers
echo echo
--- stream_config
server { vmess_listen ray; vmess main; proxy_pass vmess_target; }
--- http_config
server {
    listen 127.0.0.1:%%PORT_2%% http2;
    location = /svc/My { vmess_pass ray grpc; }
    location = /svc/If { if ($http_te) { set $a 1; } vmess_pass ray grpc; }
    location = /svc/Except { limit_except GET { allow all; }
                             vmess_pass ray grpc; }
}
--- config
location ~ ^/re/ { if ($http_upgrade) { set $a 1; } vmess_pass ray; }
location ~ ^/ex/ { limit_except POST { allow all; } vmess_pass ray; }
--- stream_client
use VMess::GRPC;
use VMess::HTTP2;
my $c = VMess::HTTP2->new(tcp(stream_port() + 2));
for my $method (qw(My If Except)) {
    my $s = $c->request(POST => "/svc/$method", codec => VMess::GRPC->new,
                        headers => ['content-type' => 'application/grpc',
                                    te => 'trailers']);
    my $f = flow(via => $s, to => 'echo', data => 'hello');
    is($f->read(5), 'hello', "an exact location, $method");
}
for my $path ('/re/any', '/ex/any') {
    for my $upgrade (0, 1) {
        my $f = flow(via => ws(path => $path, upgrade => $upgrade),
                     to => 'echo', data => 'hello');
        is($f->read(5), 'hello', "a regular expression, $path $upgrade");
    }
}
--- no_error_log
[alert]


=== TEST 4: "set" comes before limits and logs, and has its effect once
--- servers
echo echo
--- stream_config
server { vmess_listen ray; vmess main; proxy_pass vmess_target; }
--- http_config
limit_req_zone $key zone=key:1m rate=1r/m;
limit_req_zone $mapped zone=mapped:1m rate=1000r/s;
log_format set '$status $uri $key $twice "$late"';
map $uri $mapped { ~^/(capture)/ $1; }
--- user_files
>>> page
a page
--- config
uninitialized_variable_warn off;
access_log %%DIR%%/http.log set;
location /set/ {
    set $key "key $arg_k";
    set $part b;
    set $twice "${twice}$part";
    set $twice "${twice}c";
    vmess_pass ray;
    limit_req zone=key;
    if ($args) { set $late late; }
    return 200 "$key $twice $late\n";
}
location /content {
    set $key "key $arg_k";
    set $twice "${twice}b";
    vmess_pass ray;
    limit_req zone=key;
    alias html/page;
}
location /args/ {
    set $key "";
    set $args "$args&a";
    vmess_pass ray;
    return 200 "$args\n";
}
location /value/ {
    vmess_pass ray;
    if (-f "$document_root/$arg_k") { return 200 "file\n"; }
    if ($arg_k = "$uri") { return 200 "uri\n"; }
    return 200 "none\n";
}
location ~ ^/capture/(\w+)$ {
    set $key $1;
    vmess_pass ray;
    limit_req zone=mapped burst=1000 nodelay;
    return 200 "$1 $key\n";
}
--- stream_client
my @ws = ('Connection: Upgrade', 'Upgrade: websocket',
          'Sec-WebSocket-Version: 13',
          'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
          'Sec-WebSocket-Protocol: ' . 'x' x 400);
my @put = ('Connection: close', 'Transfer-Encoding: chunked',
           'Referer: http://a/?x_padding=' . 'X' x 200);
my $site = sub {
    my ($path, $method, @headers) = @_;
    my $s = tcp(http_port());
    put($s, join("\r\n", "$method $path HTTP/1.1", 'Host: a', @headers, '', '')
            . ($method eq 'PUT' ? "1\r\nx\r\n0\r\n\r\n" : ''));
    shutdown $s, 1;
    return (split /\r\n\r\n/, slurp($s), 2)[1];
};
my $log = sub {
    my ($want, $name) = @_;
    wait_for(sub { access_log('http.log') =~ /\n/ });
    is(access_log('http.log'), "$want\n", "$name, in the log");
    truncate "$Dir/http.log", 0;
};

# of clients
for my $k (1, 2) {
    my $f = flow(via => ws(path => "/set/?k=$k"), to => 'echo',
                 data => 'hello');
    is($f->read(5), 'hello', "a flow with the key $k");
    $f->close;
    $log->("101 /set/ key $k bc \"\"", 'what was set before "if"');
}
is(VMess::WebSocket->new(tcp(http_port()), path => '/set/?k=1')->status, 200,
   'one more with a key that is used up');
$log->('200 /set/ key 1 bc "late"', 'the answer of the site');

# of the site
is($site->('/set/?k=3', GET => @ws), "key 3 bc late\n", 'early data of nobody');
$log->('200 /set/ key 3 bc "late"', 'that');
is($site->('/set/?k=3', PUT => @put), "key 3 bc late\n", 'a body');
$log->('200 /set/ key 3 bc "late"', 'that');
is($site->('/content?k=4', GET => @ws), "a page\n", 'content');
$log->('200 /content key 4 b ""', 'that');
like($site->('/content?k=4', GET => @ws), qr/503/, 'limited content');
$log->('503 /content key 4 b ""', 'that');

# what stays as it is
for my $case (['/args/?b', "b&a\n"], ['/value/?k=none', "none\n"],
              ['/value/?k=page', "file\n"], ['/value/?k=/value/', "uri\n"],
              ['/capture/word', "word word\n"])
{
    my ($path, $want) = @$case;
    is($site->($path, PUT => @put), $want, $path);
    is($site->($path, GET => @ws), $want, "$path, WebSocket");
}
--- no_error_log
[alert]
