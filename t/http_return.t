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
wait_log(qr{open\(\) "\S*/html/null/x" failed|"\S*/null/x" is not found|/null/x}, 1);
unlike(error_log(), qr{null/x/x}, 'are run once');
--- no_error_log
[alert]
