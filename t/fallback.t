# Who does not authenticate: the fallback gets every byte, or nobody answers.

use lib "t/lib";
use TestVMess;

plan "no_plan";
no_shuffle();

run_tests();

__DATA__

=== TEST 1: a request for the web site, fallback by name
--- servers
web http It works
--- stream_config
server { vmess_listen site; proxy_pass 127.0.0.1:%%web%%; }
--- stream_server_config
vmess main;
vmess_fallback site;
proxy_pass vmess_target;
--- stream_client
my $s = tcp();
put($s, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
slurp($s);
--- stream_response_like: 200 OK.*It works


=== TEST 2: by address
--- servers
web http It works
--- stream_server_config
vmess main;
vmess_fallback 127.0.0.1:%%web%%;
proxy_pass vmess_target;
--- stream_client
my $s = tcp();
put($s, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
slurp($s);
--- stream_response_like: 200 OK.*It works


=== TEST 3: by address, a Unix socket
--- servers
web http It works
--- stream_config
server { listen unix:%%DIR%%/web.sock; proxy_pass 127.0.0.1:%%web%%; }
--- stream_server_config
vmess main;
vmess_fallback unix:%%DIR%%/web.sock;
proxy_pass vmess_target;
--- stream_client
my $s = tcp();
put($s, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
slurp($s);
--- stream_response_like: 200 OK.*It works


=== TEST 4: set once for all servers
--- servers
web http It works
--- stream_config
vmess_fallback site;
server { vmess_listen site; proxy_pass 127.0.0.1:%%web%%; }
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my $s = tcp();
put($s, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
slurp($s);
--- stream_response_like: 200 OK.*It works


=== TEST 5: probes of any size arrive whole, and get the late answer
--- servers
sink sink
--- stream_server_config
vmess main;
vmess_fallback 127.0.0.1:%%sink%%;
proxy_pass vmess_target;
--- stream_client
my @bad;
for my $n (1, 2, 15, 16, 17, 33, 34, 41, 42, 57, 58, 59, 100, 1000, 4095, 4096,
           4097, 8192, 16383, 16384, 16385, 70_000, 1_000_000)
{
    my $data = substr(pattern(1_000_100), $n % 97, $n);
    my $s = tcp();
    put($s, $data);
    shutdown $s, 1;
    my $got = slurp($s);
    push @bad, "$n: $got" if $got ne "$n " . sha256_hex($data) . "\n";
}
join '; ', @bad;
--- stream_response:


=== TEST 6: a probe in single bytes
--- servers
sink sink
--- stream_server_config
vmess main;
vmess_fallback 127.0.0.1:%%sink%%;
proxy_pass vmess_target;
--- stream_client
my $data = pattern(300);
my $s = tcp();
setsockopt($s, Socket::IPPROTO_TCP, Socket::TCP_NODELAY, 1);
for (split //, $data) {
    put($s, $_);
    select undef, undef, undef, 0.001;
}
shutdown $s, 1;
slurp($s) eq '300 ' . sha256_hex($data) . "\n";
--- stream_response: 1


=== TEST 7: every failure of authentication, every byte
--- servers
echo echo
sink sink
--- stream_server_config
vmess main;
vmess_fallback 127.0.0.1:%%sink%%;
proxy_pass vmess_target;
--- stream_client
my $used = vmess(to => 'echo');
is($used->connect(tcp(), data => 'hello')->read(5), 'hello', 'a good flow');

my %case = (
    unknown  => vmess(user => 'mallory', port => 9),
    time     => vmess(skew => 3600, port => 9),
    replay   => $used,
    session  => vmess(to => 'echo', key => $used->{key}, iv => $used->{iv}),
    tag      => vmess(bad => 'tag', port => 9),
    ltag     => vmess(bad => 'ltag', port => 9),
    nonce    => vmess(bad => 'nonce', port => 9),
    length   => vmess(length => 40, port => 9),
    long     => vmess(length => 65535, port => 9),
    sum      => vmess(fnv => 1, port => 9),
);

my @bad;
for my $name (sort keys %case) {
    for my $more (0, 1, 20_000) {
        my $wire = $case{$name}->header . pattern($more);
        my $s = tcp();
        put($s, $wire);
        shutdown $s, 1;
        my $got = slurp($s);
        push @bad, "$name $more: $got"
            if $got ne length($wire) . ' ' . sha256_hex($wire) . "\n";
        last if $name eq 'session';         # now it is known by its id
    }
}
join '; ', @bad;
--- stream_response:


=== TEST 8: a prober that waits is passed on when the time is over
--- servers
tag tag here
--- stream_server_config
vmess main;
vmess_fallback 127.0.0.1:%%tag%%;
vmess_handshake_timeout 300ms;
proxy_pass vmess_target;
--- stream_client
my @got;
for my $n (1, 10, 16, 50) {
    my $s = tcp();
    put($s, substr(vmess(port => 9)->header, 0, $n));
    push @got, length read_n($s, 5 + $n);
    put($s, 'more');
    push @got, read_n($s, 4);
}
"@got";
--- stream_response: 6 more 15 more 21 more 55 more
--- error_log
client timed out while sending VMess header


=== TEST 9: a prober that says nothing at all
--- servers
ban banner 220 ready
--- stream_server_config
vmess main;
vmess_fallback 127.0.0.1:%%ban%%;
vmess_handshake_timeout 300ms;
proxy_pass vmess_target;
--- stream_client
slurp(tcp());
--- stream_response
220 ready
--- error_log
client timed out while sending VMess header


=== TEST 10: a prober that ends early gets the answer
--- servers
sink sink
--- stream_server_config
vmess main;
vmess_fallback 127.0.0.1:%%sink%%;
proxy_pass vmess_target;
--- stream_client
my @bad;
for my $n (0, 1, 16, 41, 60) {
    my $data = substr(vmess(port => 9)->header, 0, $n);
    my $s = tcp();
    put($s, $data);
    shutdown $s, 1;
    my $got = slurp($s);
    push @bad, "$n: $got" if $got ne "$n " . sha256_hex($data) . "\n";
}
join '; ', @bad;
--- stream_response:
--- error_log
client closed connection while sending VMess header


=== TEST 11: a large answer to a prober that has ended
--- servers
src source 3000000
--- stream_server_config
vmess main;
vmess_fallback 127.0.0.1:%%src%%;
proxy_pass vmess_target;
--- stream_client
my $s = tcp();
put($s, "GET / HTTP/1.0\r\n\r\n");
shutdown $s, 1;
sha256_hex(slurp($s)) eq sha256_hex(pattern(3_000_000));
--- stream_response: 1


=== TEST 12: the fallback server has its own settings and its own log
--- servers
tag tag here
--- stream_config
log_format own 'own $vmess_status $vmess_user $status';
log_format main 'main $vmess_status';
server {
    vmess_listen site;
    proxy_pass 127.0.0.1:%%tag%%;
    proxy_protocol on;
    access_log %%DIR%%/own.log own;
}
--- stream_server_config
vmess main;
vmess_fallback site;
proxy_pass 127.0.0.1:1;
access_log %%DIR%%/main.log main;
--- stream_client
my $s = tcp();
put($s, 'x' x 100);
my $expect = sprintf "here:PROXY TCP4 127.0.0.1 127.0.0.1 %d %d\r\n%s",
                     $s->sockport, stream_port(), 'x' x 100;
is(read_n($s, length $expect), $expect, 'the address of the prober');
close $s;
wait_for(sub { access_log('own.log') });
is(access_log('main.log'), '', 'not in the log of the first server');
access_log('own.log');
--- stream_response
own unknown - 200


=== TEST 13: the fallback server can itself choose
--- servers
one tag one
two tag two
--- stream_config
map $vmess_status $where { default 127.0.0.1:%%one%%; time 127.0.0.1:%%two%%; }
server { vmess_listen site; proxy_pass $where; }
--- stream_server_config
vmess main;
vmess_fallback site;
proxy_pass vmess_target;
--- stream_client
join ' ', map {
    my $s = tcp();
    put($s, $_->header);
    read_n($s, 4);
} vmess(user => 'mallory', port => 9), vmess(skew => 999, port => 9);
--- stream_response: one: two:


=== TEST 14: under TLS the fallback gets what was inside
--- servers
web http It works
--- listen: ssl
--- stream_server_config
ssl_certificate %%CERT%%;
ssl_certificate_key %%KEY%%;
vmess main;
vmess_fallback 127.0.0.1:%%web%%;
proxy_pass vmess_target;
--- stream_client
my $s = tls();
put($s, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
slurp($s);
--- stream_response_like: 200 OK.*It works


=== TEST 15: who is authentic never sees the fallback
--- servers
web http It works
dead dead
--- stream_server_config
vmess main;
vmess_fallback 127.0.0.1:%%web%%;
vmess_ciphers aes-128-gcm;
vmess_deny all;
proxy_pass vmess_target;
--- stream_client
my @flows = (flow(to => 'dead'), flow(sec => 'none', to => 'dead'),
             flow(cmd => 'udp', to => 'dead'), flow(cmd => 9, to => 'dead'),
             flow(sec => 7, to => 'dead'),
             flow(address => VMess::domain_address('a b', 9)));
for (@flows) {
    eval { $_->send_raw("GET / HTTP/1.1\r\n\r\n") };
    eval { $_->read_eof };
}
join ' ', map { $_->{received} } @flows;
--- stream_response: 0 0 0 0 0 0


=== TEST 16: a fallback that is down
--- servers
dead dead
--- stream_server_config
vmess main;
vmess_fallback 127.0.0.1:%%dead%%;
proxy_pass vmess_target;
--- stream_client
my $s = tcp();
put($s, 'x' x 100);
slurp($s);
--- stream_response:
--- error_log
Connection refused


=== TEST 17: without a fallback nothing is said and the connection stays
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my @s = map { my $s = tcp(); put($s, $_); $s }
            'x' x 16, 'x' x 50, substr(vmess(skew => 999, port => 9)->header, 0, 50),
            "GET / HTTP/1.1\r\n\r\n";
is(wait_log(qr/no VMess header of a known user/, 3), 1, 'three are unknown');
is(wait_log(qr/with bad time/), 1, 'one has another time');
put($_, 'y' x 20) for @s;

# events come in their order: what is to be said to those before has been
my $t = tcp();
put($t, 'z' x 16);
is(wait_log(qr/no VMess header of a known user/, 4), 1, 'another one');
join ' ', map { IO::Select->new($_)->can_read(0) ? 'event' : 'quiet' } @s;
--- stream_response: quiet quiet quiet quiet


=== TEST 18: the drain ends at its limit, and not with a reset
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
# the limit without its jitter, docs/protocol.md
my $d = pack 'a16', 'VMess drain';
$d = substr(Digest::SHA::sha256($d . VMess::cmd_key(VMess::uuid($User{$_}))), 0, 16)
    for qw(alice bob);
my $limit = 54 + unpack('n', $d) % 3266;
my @got;
for my $v (vmess(user => 'mallory', port => 9), vmess(skew => 999, port => 9),
           vmess(bad => 'tag', port => 9))
{
    my $s = tcp();
    my $header = substr($v->header, 0, $limit - 1);
    put($s, $header);
    # piece by piece is what a prober does
    for (my $n = length $header; $n < $limit - 1; $n += 10) {
        put($s, substr('x' x 10, 0, $limit - 1 - $n));
        IO::Select->new($s)->can_read(0.002) and push @got, 'early';
    }
    # none may be on its way when it is closed: the kernel would send a reset
    put($s, 'x' x 65);
    my $n = IO::Select->new($s)->can_read(20) ? sysread($s, my $b, 10) : 'open';
    push @got, $n // "$!";
}
"@got";
--- stream_response: 0 0 0


=== TEST 19: the drain swallows about the same from everyone
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my @limit;
for my $n (1 .. 4) {

    # a busy machine sees the end late: the least of some tries

    my $least = 3500;
    for (1 .. 4) {
        my $s = tcp();
        my $data = $n % 2 ? 'x' x 60 : vmess(skew => 999, port => 9)->header;
        put($s, $data);
        my $sent = length $data;
        while ($sent < $least && !IO::Select->new($s)->can_read(0.002)) {
            put($s, 'x' x 8);
            $sent += 8;
        }
        $least = $sent if $sent < $least;
    }
    push @limit, $least;
}
my ($min, $max) = (sort { $a <=> $b } @limit)[0, -1];
cmp_ok($max, '<=', 3400, 'the limit is that of the description');
cmp_ok($max - $min, '<', 200, "a constant with a jitter: @limit");
1;
--- stream_response: 1


=== TEST 20: the drain ends when the time for the header is over
--- stream_server_config
vmess main;
vmess_handshake_timeout 300ms;
proxy_pass vmess_target;
--- stream_client
my $s = tcp();
put($s, 'x' x 16);
my $n = sysread($s, my $b, 10);
defined $n ? "closed $n" : "$!";
--- stream_response: closed 0


=== TEST 21: a prober that leaves during the drain
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
for (1 .. 20) {
    my $s = tcp();
    put($s, 'x' x 20);
    close $s;
}
wait_log(qr/no VMess header of a known user/, 20);
--- stream_response: 1


=== TEST 22: fallback off where it is inherited
--- servers
web http It works
--- stream_config
vmess_fallback 127.0.0.1:%%web%%;
--- stream_server_config
vmess main;
vmess_fallback off;
proxy_pass vmess_target;
--- stream_client
my $s = tcp();
put($s, "GET / HTTP/1.1\r\n\r\n" . 'x' x 5000);
slurp($s);
--- stream_response:


=== TEST 23: limit_conn of all servers: a visitor is counted once
--- servers
tag tag here
--- stream_config
limit_conn_zone $binary_remote_addr zone=addr:1m;
limit_conn addr 1;
server { vmess_listen site; proxy_pass 127.0.0.1:%%tag%%; }
--- stream_server_config
vmess main;
vmess_fallback site;
proxy_pass vmess_target;
--- stream_client
my $s = tcp();
put($s, 'x' x 100);
is(read_n($s, 105), 'here:' . 'x' x 100, 'a visitor is served');
my $t = tcp();
put($t, 'y' x 100);
$t->blocking(0);
is(slurp($t), '', 'a second one is not');
close $s;
wait_for(sub {
    my $u = tcp();
    put($u, 'z' x 100);
    read_n($u, 105) eq 'here:' . 'z' x 100;
});
--- stream_response: 1
--- error_log
limiting connections by zone "addr"


=== TEST 24: limit_conn of each server
--- servers
tag tag here
echo echo
--- stream_config
limit_conn_zone $binary_remote_addr zone=one:1m;
limit_conn_zone $server_port zone=two:1m;
server {
    vmess_listen site;
    limit_conn two 2;
    proxy_pass 127.0.0.1:%%tag%%;
}
--- stream_server_config
vmess main;
vmess_fallback site;
limit_conn one 1;
proxy_pass vmess_target;
--- stream_client
my @s = map { my $s = tcp(); put($s, 'x' x 100); read_n($s, 105); $s } 1 .. 2;
my $t = tcp();
put($t, 'y' x 100);
$t->blocking(0);
is(slurp($t), '', 'a third visitor is above the limit of the fallback');

my $f = flow(to => 'echo', data => 'hello');
is($f->read(5), 'hello', 'the limit of the first server is not used up');
my $g = flow(to => 'echo', data => 'hello');
is($g->read_eof, '', 'it is now');
close $_ for @s;
$f->close;
wait_for(sub { flow(to => 'echo', data => 'hello')->read(5) eq 'hello' });
--- stream_response: 1
--- error_log
limiting connections by zone "one"
limiting connections by zone "two"


=== TEST 25: an end before enough was read for preread
--- servers
sink sink
--- stream_config
server {
    vmess_listen site;
    ssl_preread on;
    # far above what the client waits
    preread_timeout 1h;
    proxy_pass 127.0.0.1:%%sink%%;
}
--- stream_server_config
vmess main;
vmess_fallback site;
proxy_pass vmess_target;
--- stream_client
my @bad;
for my $data ('GET', 'G', "\x16\x03\x01\x01\x00\x01", pattern(20), 'x' x 5000) {
    my $s = tcp();
    put($s, $data);
    shutdown $s, 1;
    $s->blocking(0);
    my $got = slurp($s);
    push @bad, $got if $got ne length($data) . ' ' . sha256_hex($data) . "\n";
}
scalar @bad;
--- stream_response: 0


=== TEST 26: an end chunk before enough was read for preread
--- servers
sink sink
--- stream_server_config
vmess main;
ssl_preread on;
preread_timeout 1h;
proxy_pass vmess_target;
--- stream_client
my @bad;
for my $sec (qw(aes-128-gcm none)) {
    for my $data ('GET', "\x16\x03\x01\x01\x00\x01") {
        my $f = flow(to => 'sink', sec => $sec, data => $data);
        $f->end;
        my $got = $f->read_eof;
        push @bad, $got if $got ne length($data) . ' ' . sha256_hex($data) . "\n";
        push @bad, 'no end' unless $f->{ended};
    }
}
scalar @bad;
--- stream_response: 0


=== TEST 27: only what limit_conn counted is given back, other modules keep theirs
--- skip_eval
2: $ENV{TEST_NGINX_BINARY} ne '/usr/sbin/nginx'
   || !-e '/usr/lib/nginx/modules/ngx_stream_js_module.so'
--- main_config
load_module /usr/lib/nginx/modules/ngx_stream_js_module.so;
--- user_files
>>> key.js
function key(s) { return s.remoteAddress; }
function none(s) { return ''; }
export default { key, none };
--- servers
tag tag here
echo echo
--- stream_config
js_path %%DIR%%/../html;
js_import key.js;
js_set $js_key key.key;
js_set $js_none key.none;
limit_conn_zone $js_key zone=one:1m;
limit_conn_zone $js_none zone=none:1m;
log_format own '$js_key';
server {
    vmess_listen site;
    access_log %%DIR%%/own.log own;
    proxy_pass 127.0.0.1:%%tag%%;
}
--- stream_server_config
vmess main;
vmess_fallback site;
limit_conn one 1;
limit_conn none 1;
proxy_pass vmess_target;
--- stream_client
for (1 .. 3) {
    my $s = tcp();
    put($s, 'x' x 100);
    is(read_n($s, 105), 'here:' . 'x' x 100, 'a visitor is not counted');
    my $f = flow(to => 'echo', data => 'hello');
    is($f->read(5), 'hello', 'a client is');
    is(flow(to => 'echo', data => 'hello')->read_eof, '', 'two are too many');
    close $s;
    $f->close;
    wait_for(sub { flow(to => 'echo', data => 'x')->read(1) eq 'x' });
}
access_log('own.log') =~ /^(127\.0\.0\.1\n)+$/;
--- stream_response: 1
--- error_log
limiting connections by zone "one"


=== TEST 28: what several zones counted is given back
--- servers
tag tag here
--- stream_config
limit_conn_zone $binary_remote_addr zone=one:1m;
limit_conn_zone $server_port zone=two:1m;
server { vmess_listen site; proxy_pass 127.0.0.1:%%tag%%; }
--- stream_server_config
vmess main;
vmess_fallback site;
limit_conn one 1;
limit_conn two 1;
proxy_pass vmess_target;
--- stream_client
my @s = map { my $s = tcp(); put($s, 'x' x 100); read_n($s, 105); $s } 1 .. 5;
scalar @s;
--- stream_response: 5


=== TEST 29: a fallback that leads back is refused
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my $id = $User{alice};
my $try = sub {
    my ($listen, $fallback, $more) = @_;
    return nginx_t("vmess_users main:1m { alice $id; }\nvmess_allow all;\n"
        . "server {\nlisten $listen;\nvmess main;\nvmess_fallback $fallback;\n"
        . "proxy_pass vmess_target;\n}\n" . ($more // ''));
};
my $p = '%%PORT_1%%';
my $site = "server {\nvmess_listen site;\nvmess off;\nproxy_pass";
for (["127.0.0.1:$p", "127.0.0.1:$p"], [$p, "127.0.0.1:$p"],
     [$p, "127.0.0.9:$p"], ["[::]:$p", "[::1]:$p"],
     ["[::]:$p ipv6only=off", "127.0.0.1:$p"],
     ["[::]:$p ipv6only=off", "[::ffff:127.0.0.1]:$p"],
     [$p, "[::ffff:127.0.0.1]:$p"],
     ['unix:%%DIR%%/v.sock', 'unix:%%DIR%%/v.sock'],
     ["127.0.0.1:$p ssl", "127.0.0.1:$p",
      "ssl_certificate %%CERT%%;\nssl_certificate_key %%KEY%%;"],
     ["127.0.0.1:$p", 'site', "$site 127.0.0.1:$p;\n}"],
     ["127.0.0.1:$p", '127.0.0.1:%%PORT_2%%',
      "server {\nlisten 127.0.0.1:%%PORT_2%%;\nvmess main;\n"
      . "proxy_pass vmess_target;\n}"])
{
    my ($rc, $out) = $try->(@$_);
    is($rc, 1, "listen $_->[0]; vmess_fallback $_->[1]");
    like($out, qr/\[emerg\].*"vmess_fallback \S+" .* leads to .* terminates/,
         'says where it leads');
}
for (["127.0.0.1:$p", '127.0.0.1:%%PORT_2%%'],
     ["127.0.0.1:$p", "127.0.0.2:$p"],
     ["[::]:$p", "127.0.0.1:$p"], ["[::]:$p", "[::ffff:127.0.0.1]:$p"],
     [$p, "[::1]:$p"],
     ["127.0.0.1:$p", "site", "$site 127.0.0.1:%%PORT_2%%;\n}"],
     ["127.0.0.1:$p", '127.0.0.1:%%PORT_2%%',
      "server {\nlisten 127.0.0.1:%%PORT_2%%;\nproxy_pass 127.0.0.1:$p;\n}"])
{
    my ($rc, $out) = $try->(@$_);
    is($rc, 0, "listen $_->[0]; vmess_fallback $_->[1]") or diag $out;
}
1;
--- stream_response: 1


=== TEST 30: one that nginx -t cannot see ends after a few hops
--- servers
tag tag here
--- stream_config
map $remote_addr $where { 127.0.0.1 127.0.0.1:%%STREAM_PORT%%; }
map $proxy_protocol_addr $again { default 127.0.0.1:%%PORT_2%%; }
log_format own '$status';
server {
    vmess_listen site;
    access_log %%DIR%%/own.log own;
    proxy_pass $where;
}
server {
    listen 127.0.0.1:%%PORT_2%% proxy_protocol;
    set_real_ip_from 127.0.0.1;
    vmess main;
    vmess_fallback again;
    proxy_pass vmess_target;
}
server {
    vmess_listen again;
    access_log %%DIR%%/again.log own;
    proxy_protocol on;
    proxy_pass $again;
}
--- stream_server_config
vmess main;
vmess_fallback site;
proxy_pass vmess_target;
--- config
location = /status { stub_status; }
--- stream_client
my $start = active();
my $s = tcp();
put($s, 'x' x 100);
is(slurp($s), '', 'closed');
is(wait_for(sub { active() == $start }), 1, 'nothing is left');
is(access_log('own.log'), "200\n" x 3, 'so many fallbacks in a row');

$s = tcp(stream_port() + 2);
put($s, "PROXY TCP4 192.0.2.1 192.0.2.2 5 6\r\n" . 'x' x 100);
is(slurp($s), '', 'closed, with the PROXY protocol');
is(wait_for(sub { active() == $start }), 1, 'nothing is left');
is(access_log('again.log'), "200\n" x 3, 'so many');
1;
--- stream_response: 1
--- error_log
"vmess_fallback" leads back to a server with VMess

=== TEST 31: a connection of the fallback that fails under TLS ends, and the worker goes on
--- servers
web tag site
echo echo
--- listen: ssl
--- stream_server_config
ssl_certificate %%CERT%%;
ssl_certificate_key %%KEY%%;
vmess main;
vmess_fallback 127.0.0.1:%%web%%;
proxy_pass vmess_target;
--- stream_client
my $s = tls();
put($s, 'no VMess, and more than a header has');
is(read_n($s, 5), 'site:', 'the fallback was reached');
break_tls($s);
ok(wait_log(qr/disconnected, bytes/), 'the session has ended');
is(flow(via => tls(), to => 'echo', data => 'hello')->read(5), 'hello',
   'and the worker goes on');
1;
--- stream_response: 1
--- may_alert


=== TEST 32: what the drain swallows is a constant of the users, and up to 63 more
--- stream_config
vmess_users main:1m { alice %%ALICE%%; bob %%BOB%%; }
vmess_users other:1m { mallory 11111111-2222-3333-4444-555555555555; }
server { listen 127.0.0.1:%%PORT_1%%; vmess other; proxy_pass vmess_target; }
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my $closed = sub { IO::Select->new($_[0])->can_read(0) };

# VMess, "Failure behaviour"
my $drain = sub {
    my $d = pack 'a16', 'VMess drain';
    $d = substr Digest::SHA::sha256($d . VMess::cmd_key(VMess::uuid($User{$_}))), 0, 16
        for @_;
    return 54 + unpack('n', $d) % 3266;
};

for ([ 0, 'alice', 'bob' ], [ 1, 'mallory' ]) {
    my ($port, @users) = @$_;
    my $n = $drain->(@users);
    my %rest = map { $_ => tcp(stream_port() + $port) } 1 .. 8;
    my %last;

    put($_, 'x' x ($n - 1)) for values %rest;
    is(wait_taken(stream_port() + $port), 1, "$n bytes, but one");
    is(scalar(grep { $closed->($_) } values %rest), 0, 'are not enough');

    for my $more (0 .. 63) {
        put($_, 'x') for values %rest;
        wait_taken(stream_port() + $port);
        for (grep { $closed->($rest{$_}) } keys %rest) {
            is(slurp(delete $rest{$_}), '', 'closed');
            $last{$more} = 1;
        }
    }

    is(wait_for(sub { $closed->($_) || return 0 for values %rest; 1 }), 1,
       '64 bytes are');
    cmp_ok(keys %last, '>', 1, 'not always the same');
}
1;
--- stream_response: 1


=== TEST 33: the drain leaves nothing of what has come, which would be a reset
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my @workers = children();
halt('STOP', @workers);
my @s = map { my $s = tcp(); put($s, 'x' x 60_000); $s } 1 .. 4;
kill 'CONT', @workers;
join ' ', map { sysread($_, my $b, 10) // "$!" } @s;
--- stream_response: 0 0 0 0


=== TEST 34: as many bytes are swallowed as the users make of it
--- no_defaults
--- stream_config
vmess_users main:1m { alice %%ALICE%%; bob %%BOB%%; }
vmess_users one:1m { bob %%BOB%%; }
vmess_users old:4m { bob %%BOB%% alter_id=1; }
vmess_ciphers aes-128-gcm;
server {
    listen 127.0.0.1:%%PORT_2%%;
    vmess one;
    proxy_pass vmess_target;
}
server {
    listen 127.0.0.1:%%PORT_3%%;
    vmess old;
    proxy_pass vmess_target;
}
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my $drain = sub {
    my $data = pack 'a16', 'VMess drain';
    $data = substr Digest::SHA::sha256($data . $_), 0, 16
        for map { VMess::cmd_key(VMess::uuid($_)) } @_;
    return 54 + unpack('n', $data) % 3266;
};
my $n = 0;
my $limit = sub {
    my ($port, $least, $what) = @_;
    for (1 .. 5) {
        my $s = tcp($port);
        put($s, 'x' x 16);
        is(wait_log(qr/no VMess header of a known user/, ++$n), 1, 'refused');
        put($s, 'x' x ($least - 1 - 16));

        # events come in their order
        my $t = tcp($port);
        put($t, 'x' x 16);
        is(wait_log(qr/no VMess header of a known user/, ++$n), 1, 'another');
        is(IO::Select->new($s)->can_read(0) // 'open', 'open',
           $what . ', not before ' . $least);
        put($s, 'x' x 64);
        is(slurp($s), '', 'but with 63 more');
    }
};
my ($alice, $bob) = @User{qw(alice bob)};
$limit->(stream_port(), $drain->($alice, $bob), 'two users');
$limit->(stream_port() + 2, $drain->($bob), 'one');
my $old = $drain->($bob);
$old += 345 if $old < 345;
$limit->(stream_port() + 3, $old, 'with an original header');
1;
--- stream_response: 1


=== TEST 35: vmess_target is nothing for a fallback's server
--- servers
echo echo
--- stream_config
server { vmess_listen site; proxy_pass vmess_target; }
--- stream_server_config
vmess main;
vmess_fallback site;
proxy_pass vmess_target;
--- stream_client
for my $v (vmess(to => 'echo', skew => 999), vmess(to => 'echo', bad => 'tag'),
           vmess(to => 'echo', user => 'mallory'))
{
    my $s = tcp();
    put($s, $v->header . $v->chunk('hello'));
    is(slurp($s), '', 'closed');
}
log_count(qr/\[error\].*"vmess_target" needs a server with "vmess"/);
--- stream_response: 3
