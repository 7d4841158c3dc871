# Who says nothing, or little: the fallback's time runs, and a late header is
# taken all the same.  vmess_handshake_timeout is far above what the tests wait.

use lib "t/lib";
use TestVMess;

plan "no_plan";
no_shuffle();

# a client that waits until its connection is the site's, too; then it sends

sub late {
    my ($v, $cut, %o) = @_;
    my $wire = $v->header . $v->chunk($o{data} // '');
    my $s = $o{via} // tcp();
    my $n = log_count(qr/proxy \S+ connected to/);
    $o{before}->($s) if $o{before};
    put($s, substr($wire, 0, $cut));
    wait_log(qr/proxy \S+ connected to/, $n + 1) or die 'no site';
    put($s, substr($wire, $cut));
    return $v->connect($s, quiet => 1);
}

run_tests();

__DATA__

=== TEST 1: a silent client is closed when the site closes
--- servers
site after 0
--- stream_config
log_format own '$vmess_status $status $bytes_received';
log_format main 'main';
server {
    vmess_listen site;
    access_log %%DIR%%/own.log own;
    proxy_pass 127.0.0.1:%%site%%;
}
--- stream_server_config
vmess main;
vmess_fallback site;
vmess_handshake_timeout 1h;
access_log %%DIR%%/main.log main;
proxy_pass vmess_target;
--- config
location = /status { stub_status; }
--- stream_client
my $start = active();
is(slurp(tcp()), "got 0\n", 'what the site says before its end is said');
is(wait_for(sub { access_log('own.log') }) && access_log('own.log'),
   "timeout 200 0\n", 'a line of the site');
is(access_log('main.log'), '', 'and no other');
wait_for(sub { active() == $start });
--- stream_response: 1
--- error_log
client timed out while sending VMess header


=== TEST 2: by address, and without a word
--- servers
site reset
--- stream_server_config
vmess main;
vmess_fallback 127.0.0.1:%%site%%;
vmess_handshake_timeout 1h;
proxy_pass vmess_target;
--- config
location = /status { stub_status; }
--- stream_client
my $start = active();
my @s = map { tcp() } 1 .. 50;
is(join('', map { slurp($_) } @s), '', 'closed');
wait_for(sub { active() == $start });
--- stream_response: 1


=== TEST 3: short input is the site's at once
--- servers
one after 1
few after 15
--- stream_config
server {
    listen 127.0.0.1:%%PORT_2%%;
    vmess main;
    vmess_fallback 127.0.0.1:%%few%%;
    vmess_handshake_timeout 1h;
    proxy_pass vmess_target;
}
--- stream_server_config
vmess main;
vmess_fallback 127.0.0.1:%%one%%;
vmess_handshake_timeout 1h;
proxy_pass vmess_target;
--- stream_client
my $s = tcp();
put($s, 'x');
is(slurp($s), "got 1\n", 'a byte');
$s = tcp(stream_port() + 2);
put($s, 'x' x 15);
slurp($s);
--- stream_response
got 15


=== TEST 4: input in pieces is the site's as it comes
--- servers
tag tag here
site after 12
--- stream_config
server {
    listen 127.0.0.1:%%PORT_2%%;
    vmess main;
    vmess_fallback 127.0.0.1:%%tag%%;
    vmess_handshake_timeout 1h;
    proxy_pass vmess_target;
}
--- stream_server_config
vmess main;
vmess_fallback 127.0.0.1:%%site%%;
vmess_handshake_timeout 1h;
proxy_pass vmess_target;
--- stream_client
my $s = tcp();
put($s, 'abc');
wait_log(qr/proxy \S+ connected to/) or die 'no site';
put($s, 'def');
put($s, 'ghijkl');
is(slurp($s), "got 12\n", 'so many bytes, and the end');

# a site that does not close: it is heard when there is a verdict
$s = tcp(stream_port() + 2);
put($s, 'abc');
wait_log(qr/proxy \S+ connected to/, 2) or die 'no site';
is(IO::Select->new($s)->can_read(0.3) // 'quiet', 'quiet', 'held');
put($s, 'defghijklmnop');
is(read_n($s, 21), 'here:abcdefghijklmnop', 'every byte, once');
put($s, 'more');
is(read_n($s, 4), 'more', 'and on');
shutdown $s, 1;
is(slurp($s), '', 'a half-close is passed on');

# a half-close instead of more
$s = tcp(stream_port() + 2);
put($s, 'abc');
wait_log(qr/proxy \S+ connected to/, 3) or die 'no site';
shutdown $s, 1;
slurp($s);
--- stream_response: here:abc
--- error_log
client sent no VMess header of a known user
client closed connection while sending VMess header


=== TEST 5: a late header is taken, cut anywhere
--- servers
ban tag here
echo echo
--- stream_config
log_format own 'own';
log_format main '$vmess_status $vmess_user $status $bytes_received $bytes_sent [$upstream_addr]';
server {
    vmess_listen site;
    access_log %%DIR%%/own.log own;
    proxy_pass 127.0.0.1:%%ban%%;
}
--- stream_server_config
vmess main;
vmess_fallback site;
vmess_handshake_timeout 1h;
access_log %%DIR%%/main.log main;
proxy_pass vmess_target;
--- config
location = /status { stub_status; }
--- stream_client
my $start = active();
for my $cut (0, 1, 15, 16, 17, 41, 42, 60, 61) {
    my $v = vmess(to => 'echo');
    my $f = late($v, $cut, data => 'hello');
    is($f->read(5), 'hello', "after $cut bytes");
    is(active(), $start + 1, 'one session');
    $f->send('x' x 100_000);
    is($f->read(100_000), 'x' x 100_000, 'and on');
    $f->end;
    is($f->read_eof, '', 'the end');
    $f->close;
    wait_for(sub { active() == $start });
}
my $echo = port('echo');
is(access_log('main.log'), "ok alice 200 100005 100005 [127.0.0.1:$echo]\n" x 9,
   'a line of the client');
is(access_log('own.log'), '', 'and no other');
wait_for(sub { active() == $start });
--- stream_response: 1
--- no_error_log
[error]
[alert]


=== TEST 6: what a site says first is not for a late client
--- servers
ssh hello 220 ready
echo echo
--- stream_server_config
vmess main;
vmess_fallback 127.0.0.1:%%ssh%%;
vmess_handshake_timeout 1h;
proxy_pass vmess_target;
--- stream_client
for my $cut (0, 10) {
    my $f = late(vmess(to => 'echo'), $cut, data => 'hello');
    is($f->read(5), 'hello', "after $cut bytes");
    $f->close;
}
my $s = tcp();
put($s, 'x' x 16);
is(read_n($s, 10), "220 ready\n", 'a visitor hears it');
put($s, 'y');
read_n($s, 17);
--- stream_response eval: 'x' x 16 . 'y'


=== TEST 7: no header in time: the site's, with what it said
--- servers
ssh hello 220 ready
--- stream_server_config
vmess main;
vmess_fallback 127.0.0.1:%%ssh%%;
vmess_handshake_timeout 1s;
proxy_pass vmess_target;
--- stream_client
my $s = tcp();
put($s, 'abc');
is(read_n($s, 13), "220 ready\nabc", 'heard at last');
put($s, vmess(port => 9)->header);
length read_n($s, 50);
--- stream_response: 50
--- error_log
client timed out while sending VMess header


=== TEST 8: limit_conn of each server
--- servers
ban silent
echo echo
--- stream_config
limit_conn_zone $binary_remote_addr zone=one:1m;
limit_conn_zone $server_port zone=two:1m;
server {
    vmess_listen site;
    limit_conn two 1;
    proxy_pass 127.0.0.1:%%ban%%;
}
--- stream_server_config
vmess main;
vmess_fallback site;
vmess_handshake_timeout 1h;
limit_conn one 2;
proxy_pass vmess_target;
--- stream_client
my $f = late(vmess(to => 'echo'), 5, data => 'hello');
is($f->read(5), 'hello', 'a late client');
my $g = late(vmess(to => 'echo'), 0, data => 'hello');
is($g->read(5), 'hello', 'another: the fallback counts the first no more');
is(flow(to => 'echo', data => 'x')->read_eof, '', 'its own server does');
$f->close;
$g->close;
my @s;
wait_for(sub {
    @s = (tcp());
    put($s[0], 'abc');
    log_count(qr/proxy \S+ connected to 127\.0\.0\.1:${\ port('ban')}\b/) >= 3;
});
my $t = tcp();
is(slurp($t), '', 'two visitors are too many for the fallback');
scalar @s;
--- stream_response: 1
--- error_log
limiting connections by zone "one"
limiting connections by zone "two"


=== TEST 9: under TLS, with the PROXY protocol on both sides
--- servers
echo echo
--- listen: ssl proxy_protocol
--- stream_config
server {
    vmess_listen site;
    proxy_protocol on;
    ssl_preread on;
    proxy_pass 127.0.0.1:%%echo%%;
}
--- stream_server_config
ssl_certificate %%CERT%%;
ssl_certificate_key %%KEY%%;
set_real_ip_from 127.0.0.1;
vmess main;
vmess_fallback site;
vmess_handshake_timeout 1h;
preread_timeout 600ms;
proxy_pass vmess_target;
--- stream_client
require IO::Socket::SSL;
my $line = "PROXY TCP4 192.0.2.1 192.0.2.2 5 6\r\n";
my $head = "PROXY TCP4 192.0.2.1 127.0.0.1 5 " . stream_port() . "\r\n";
my $open = sub {
    my $s = tcp();
    put($s, $line);
    return IO::Socket::SSL->start_SSL($s, SSL_verify_mode => 0) || die;
};
my $f = late(vmess(to => 'echo'), 7, via => $open->(), data => 'hello');
is($f->read(5), 'hello', 'a late client');
$f->close;
my $s = $open->();
put($s, 'xyz');

# the site has them, too, and waits for more without a word in the log
sleep 1;
put($s, 'x' x 20);
is(read_n($s, length($head) + 23), $head . 'xyz' . 'x' x 20,
   'who it is, and every byte');
$s->stop_SSL(SSL_no_shutdown => 1);
1;
--- stream_response: 1


=== TEST 10: a site that is down, or refuses
--- servers
dead dead
tag tag here
--- stream_config
server {
    listen 127.0.0.1:%%PORT_2%%;
    vmess main;
    vmess_fallback site;
    vmess_handshake_timeout 1h;
    proxy_pass vmess_target;
}
server {
    vmess_listen site;
    deny all;
    proxy_pass 127.0.0.1:%%tag%%;
}
--- stream_server_config
vmess main;
vmess_fallback 127.0.0.1:%%dead%%;
vmess_handshake_timeout 1h;
proxy_pass vmess_target;
--- config
location = /status { stub_status; }
--- stream_client
my $start = active();
is(slurp(tcp()), '', 'down');
is(slurp(tcp(stream_port() + 2)), '', 'refused');
wait_for(sub { active() == $start });
--- stream_response: 1
--- error_log
Connection refused
access forbidden by rule


=== TEST 11: what is no proxy is given a silent client when the time is over
--- stream_config
server { vmess_listen site; return "here"; }
--- stream_server_config
vmess main;
vmess_fallback site;
vmess_handshake_timeout 700ms;
proxy_pass vmess_target;
--- stream_client
slurp(tcp());
--- stream_response: here
--- error_log
client timed out while sending VMess header


=== TEST 12: silent clients, and a fallback that leads back
--- stream_config
map $remote_addr $where { default 127.0.0.1:%%STREAM_PORT%%; }
server { vmess_listen site; proxy_pass $where; }
--- stream_server_config
vmess main;
vmess_fallback site;
vmess_handshake_timeout 1h;
proxy_pass vmess_target;
--- config
location = /status { stub_status; }
--- stream_client
my $start = active();
is(slurp(tcp()), '', 'closed');
wait_for(sub { active() == $start });
--- stream_response: 1
--- error_log
leads back to a server with VMess


=== TEST 13: silent clients end with the worker
--- servers
ban silent
--- main_config
worker_shutdown_timeout 1s;
--- stream_server_config
vmess main;
vmess_fallback 127.0.0.1:%%ban%%;
vmess_handshake_timeout 1h;
proxy_pass vmess_target;
--- stream_client
my @s = map { tcp() } 1 .. 5;
wait_log(qr/proxy \S+ connected to/, 5) or die 'no site';
reload();
is(join('', map { slurp($_) } @s), '', 'closed');
1;
--- stream_response: 1


=== TEST 14: a late client that is wrong, or is not allowed
--- servers
ban silent
--- stream_server_config
vmess main;
vmess_fallback 127.0.0.1:%%ban%%;
vmess_handshake_timeout 1h;
vmess_ciphers aes-128-gcm;
proxy_pass vmess_target;
--- config
location = /status { stub_status; }
--- stream_client
my $start = active();
is(late(vmess(port => 9, sec => 'none'), 3)->read_eof, '', 'a cipher');
is(late(vmess(port => 9, sec => 7), 3)->read_eof, '', 'no cipher');
wait_for(sub { active() == $start });
--- stream_response: 1
--- error_log
requested cipher "none"


=== TEST 15: http disguise: the site has an answer to a request
--- servers
web http It works
echo echo
--- stream_server_config
vmess main;
vmess_http_header on path=/;
vmess_fallback 127.0.0.1:%%web%%;
vmess_handshake_timeout 1h;
proxy_pass vmess_target;
--- stream_client
my $s = tcp();
put($s, "GET / HTT");
wait_log(qr/proxy \S+ connected to/) or die 'no site';
put($s, "P/1.1\r\nHost: a\r\n\r\n");
slurp($s);
--- stream_response_like: 200 OK.*It works


=== TEST 16: trickled bytes do not prolong the time for the header
--- servers
echo echo
tag tag here
--- stream_config
server {
    listen 127.0.0.1:%%PORT_2%%;
    vmess main;
    vmess_fallback 127.0.0.1:%%tag%%;
    vmess_handshake_timeout 900ms;
    proxy_pass vmess_target;
}
--- stream_server_config
vmess main;
vmess_handshake_timeout 900ms;
proxy_pass vmess_target;
--- stream_client
my @v = map { vmess(to => 'echo', pad => 15) } 0 .. 1;
my @wire = map { $_->header . $_->chunk('hello') } @v;
my @s = (tcp(), tcp(stream_port() + 2));

# more often than the time is long, until it must be over
for my $i (0 .. length($wire[0]) - 1) {
    put($s[$_], substr($wire[$_], $i, 1)) for 0 .. 1;
    last if log_count(qr/client timed out while sending VMess header/) == 2;
    select undef, undef, undef, 0.1;
}
is(slurp($s[0]), '', 'closed');
like(read_n($s[1], 6), qr/^here:/, 'the site has it');
log_count(qr/client timed out while sending VMess header/);
--- stream_response: 2


=== TEST 17: a late header with the end of the client behind it
--- servers
site sink
sink sink
--- stream_server_config
vmess main;
vmess_fallback 127.0.0.1:%%site%%;
vmess_handshake_timeout 1h;
access_log %%DIR%%/main.log main;
proxy_pass vmess_target;
--- stream_config
log_format main '$vmess_status $status $bytes_received';
--- stream_client
my $s = tcp();
wait_log(qr/proxy \S+ connected to/) or die 'no site';

# the worker sees both at once: no other event comes
my @workers = children();
halt('STOP', @workers);
put($s, vmess(to => 'sink')->header);
shutdown $s, 1;
kill 'CONT', @workers;

wait_for(sub { access_log('main.log') });
access_log('main.log');
--- stream_response
ok 200 0


=== TEST 18: under TLS, a late header and the end of the site at once
--- servers
sink sink
--- listen: ssl
--- stream_config
log_format main '$vmess_status $status';
server {
    vmess_listen site;
    access_log %%DIR%%/own.log main;
    proxy_pass 127.0.0.2:%%sink%%;
}
--- stream_server_config
ssl_certificate %%CERT%%;
ssl_certificate_key %%KEY%%;
vmess main;
vmess_fallback site;
vmess_handshake_timeout 1h;
access_log %%DIR%%/main.log main;
proxy_pass vmess_target;
--- config
location = /status { stub_status; }
--- stream_client
require IO::Socket::SSL;
my $start = active();
my $l = IO::Socket::INET->new(LocalAddr => '127.0.0.2', LocalPort => port('sink'),
                              Proto => 'tcp', Listen => 1, ReuseAddr => 1) or die $!;
my $s = IO::Socket::SSL->start_SSL(tcp(), SSL_verify_mode => 0) || die;
my $site = $l->accept;
wait_log(qr/proxy \S+ connected to 127\.0\.0\.2/) or die 'no site';

my @workers = children();
halt('STOP', @workers);
put($s, vmess(to => 'sink')->header);
$site->close;
kill 'CONT', @workers;

# the site was first: nothing of the session goes on while TLS is shut down
wait_for(sub { access_log('own.log') });
$s->stop_SSL(SSL_no_shutdown => 1);
$s->close;
wait_for(sub { active() == $start });
is(access_log('main.log'), '', 'it ends once');
access_log('own.log');
--- stream_response
ok 200


=== TEST 19: what njs began for the site ends with the session
--- skip_eval
3: $ENV{TEST_NGINX_BINARY} ne '/usr/sbin/nginx'
   || !-e '/usr/lib/nginx/modules/ngx_stream_js_module.so'
--- main_config
load_module /usr/lib/nginx/modules/ngx_stream_js_module.so;
--- user_files
>>> site.js
function access(s) {
    setTimeout(() => s.warn('fired'), 1000);
    s.allow();
}
export default { access };
--- servers
sink sink
echo echo
--- stream_config
js_path %%DIR%%/../html;
js_import site.js;
server {
    vmess_listen site;
    js_access site.access;
    proxy_pass 127.0.0.1:%%sink%%;
}
--- stream_server_config
vmess main;
vmess_fallback site;
vmess_handshake_timeout 1h;
proxy_pass vmess_target;
--- config
location = /status { stub_status; }
--- stream_client
my $start = active();
my $f = late(vmess(to => 'echo'), 0, data => 'hello');
is($f->read(5), 'hello', 'a late client');
wait_log(qr/fired/) or die 'no timer';
$f->send('more');
is($f->read(4), 'more', 'and on');
$f->close;
wait_for(sub { active() == $start });
--- stream_response: 1
--- no_error_log
[alert]
