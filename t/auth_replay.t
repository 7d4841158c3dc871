# A header is accepted once, by whichever worker, before and after a reload.

use lib "t/lib";
use TestVMess;

plan "no_plan";
no_shuffle();
workers(4);
run_tests();

__DATA__

=== TEST 1: the same bytes again
--- servers
echo echo
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my $v = vmess(to => 'echo');
$v->connect(tcp(), data => 'hello');
is($v->read(5), 'hello', 'accepted once');

my $s = tcp();
put($s, $v->header . 'x' x 5000);
slurp($s);
--- stream_response:
--- error_log
client sent replayed VMess header of user "alice"


=== TEST 2: other workers know it
--- servers
echo echo
--- listen: reuseport
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my $v = vmess(to => 'echo');
$v->connect(tcp(), data => 'hello');
is($v->read(5), 'hello', 'accepted once');

my $said = '';
for (1 .. 40) {
    my $s = tcp();
    put($s, $v->header . 'x' x 5000);
    $said .= slurp($s);
}
is($said, '', 'never again');
wait_log(qr/replayed VMess header/, 40);
my %pid = map { $_ => 1 } error_log() =~ /(\d+)#\d+: \*\d+ client sent replayed/g;
cmp_ok(scalar(keys %pid), '>', 1, 'seen by several workers');
log_count(qr/client sent replayed VMess header of user "alice"/);
--- stream_response: 40


=== TEST 3: sent to all workers at once it is accepted once
--- servers
echo echo
no   banner no
--- listen: reuseport
--- stream_server_config
vmess main;
vmess_fallback 127.0.0.1:%%no%%;
proxy_pass vmess_target;
--- stream_client
my @accepted;
for (1 .. 10) {
    my $v = vmess(to => 'echo');
    my $wire = $v->header . $v->chunk('hello');
    my @s = map { tcp() } 1 .. 20;
    put($_, $wire) for @s;
    push @accepted, scalar grep { read_n($_, 3) ne "no\n" } @s;
}
"@accepted";
--- stream_response: 1 1 1 1 1 1 1 1 1 1


=== TEST 4: after a reload it is still known
--- servers
echo echo
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my $v = vmess(to => 'echo', skew => 60);
$v->connect(tcp(), data => 'hello');
is($v->read(5), 'hello', 'accepted once');
$v->close;

for my $n (1, 2) {
    reload();
    wait_for(sub { workers_alive() == 4 }) or die 'no reload';
    my $s = tcp();
    put($s, $v->header . 'x' x 5000);
    is(slurp($s), '', "refused after reload $n");
}
log_count(qr/client sent replayed VMess header of user "alice"/);
--- stream_response: 2


=== TEST 5: a fresh id for the same session is refused
--- servers
echo echo
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my %same = (key => 'k' x 16, iv => 'i' x 16, to => 'echo');
is(flow(%same, data => 'hello')->read(5), 'hello', 'accepted once');

my $f = flow(%same, data => 'x' x 5000);
$f->read_eof;
is($f->{received}, 0, 'refused');

is(flow(%same, user => 'bob', data => 'hello')->read(5), 'hello',
   'another user has sessions of his own');
is(flow(%same, iv => 'j' x 16, data => 'hello')->read(5), 'hello',
   'another IV is another session');
--- error_log
client sent replayed VMess header of user "alice"


=== TEST 6: no fresh id is refused under load
--- servers
echo echo
--- listen: reuseport
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my $good = 0;
for (1 .. 30) {
    my @f = map { flow(to => 'echo', data => "n $_") } 1 .. 50;
    $good += grep { $_->read(3) =~ /^n \d/ } @f;
}
"$good " . log_count(qr/replayed/);
--- stream_response: 1500 0


=== TEST 7: a clock that is ahead does not shorten the memory
--- servers
echo echo
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my @v = map { vmess(to => 'echo', skew => $_) } -115, 0, 115;
is($_->connect(tcp(), data => 'hello')->read(5), 'hello', 'accepted') for @v;
for (@v) {
    my $s = tcp();
    put($s, $_->header . 'x' x 5000);
    is(slurp($s), '', 'refused');
}
log_count(qr/client sent replayed VMess header of user "alice"/);
--- stream_response: 3


=== TEST 8: a header whose tag is bad uses up its id, too
--- servers
echo echo
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my $v = vmess(to => 'echo');
my $wire = $v->header;
my $s = tcp();
substr(my $bad = $wire, -1) ^= "\x01";
put($s, $bad . 'x' x 5000);
is(slurp($s), '', 'refused');
$s = tcp();
put($s, $wire . 'x' x 5000);
is(slurp($s), '', 'refused');
wait_log(qr/replayed/);
log_count(qr/with bad tag/) . ' ' . log_count(qr/replayed/);
--- stream_response: 1 1


=== TEST 9: an id that is refused as early is not good later
--- servers
echo echo
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my @early = map { vmess(to => 'echo', skew => 123) } 1 .. 2;
$_->header for @early;
my $s = tcp();
put($s, $early[0]->header . 'x' x 5000);
is(slurp($s), '', 'refused');
is(wait_log(qr/header of user "alice" with bad time, clock skew is 12\d s/), 1,
   'as early');
my $end = time + 5;
is(wait_for(sub { time > $end }, 20), 1, 'its time comes');
is($early[1]->connect(tcp(), data => 'hello')->read(5), 'hello',
   'one that was not seen is good');
$s = tcp();
put($s, $early[0]->header . 'x' x 5000);
is(slurp($s), '', 'the other one is not');
is(wait_log(qr/client sent replayed VMess header of user "alice"/), 1,
   'as it was seen');
--- stream_response: 1


=== TEST 10: an id in two zones is good once
--- servers
echo echo
--- stream_config
vmess_users one:1m { alice %%ALICE%%; }
vmess_users two:1m { anna %%ALICE%%; }
server {
    listen 127.0.0.1:%%PORT_1%%;
    vmess two;
    proxy_pass vmess_target;
}
--- stream_server_config
vmess one;
proxy_pass vmess_target;
--- stream_client
my $v = vmess(to => 'echo');
is($v->connect(tcp(), data => 'hello')->read(5), 'hello', 'in one zone');
my $s = tcp(stream_port() + 1);
put($s, $v->header . 'x' x 5000);
is(slurp($s), '', 'not in the other');
$v = vmess(to => 'echo');
is($v->connect(tcp(stream_port() + 1), data => 'hello')->read(5), 'hello',
   'another id in the other zone');
$s = tcp();
put($s, $v->header . 'x' x 5000);
is(slurp($s), '', 'not in the first');
my ($entries) = error_log() =~ /replay filter of (\d+) entries/;
cmp_ok($entries, '>', 2 * 16_900, 'one filter, of the size of both');
wait_log(qr/replayed/, 2);
join ' ', error_log() =~ /client sent replayed VMess header of user "(\w+)"/g;
--- stream_response: anna alice


=== TEST 11: sent in halves to several connections it is good once
--- servers
echo echo
--- listen: reuseport
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my $v = vmess(to => 'echo');
my @s = map { tcp() } 1 .. 8;
put($_, substr($v->header, 0, 30)) for @s;
wait_log(qr/ connected to |client .* connected/, 8) or die 'not connected';
put($_, substr($v->header, 30) . 'x' x 5000) for @s[1 .. 7];
is(wait_log(qr/replayed VMess header/, 6), 1, 'six are refused');
put($s[0], substr($v->header, 30) . 'x' x 5000);
is(slurp($s[0]), '', 'the last one as well');
wait_log(qr/replayed VMess header/, 7);
log_count(qr/replayed VMess header/);
--- stream_response: 7


=== TEST 12: each kind of refusal is counted
--- servers
echo echo
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my $refused = sub {
    my ($n, $what) = @_;
    my $lines = log_count(qr/vmess user "alice"/);
    my $f = flow(to => 'echo', data => 'hello');
    is($f->read(5), 'hello', 'a flow');
    $f->close;
    wait_log(qr/vmess user "alice"/, $lines + 1);
    my @n = error_log() =~ /vmess user "alice".* refused:(\d+)/g;
    is($n[-1], $n, $what);
};
my $send = sub { my $s = tcp(); put($s, $_[0] . 'x' x 5000); slurp($s) };

my $v = vmess(to => 'echo');
$v->connect(tcp(), data => 'hello')->read(5);
$v->close;
$refused->(0, 'none yet');
$send->($v->header);
$refused->(1, 'a replay');
$send->(vmess(to => 'echo', skew => 999)->header);
$refused->(2, 'a bad time');
substr(my $bad = vmess(to => 'echo')->header, -1) ^= "\x01";
$send->($bad);
$refused->(3, 'a bad tag');
my $s = tcp();
put($s, substr(vmess(to => 'echo')->header, 0, 20));
close $s;
wait_log(qr/closed connection while sending/);
$refused->(4, 'a part of a header');
$send->('y' x 50);
$refused->(4, 'not bytes of nobody');
1;
--- stream_response: 1


=== TEST 13: a header that a limit refused is not good when there is no limit any more
--- servers
echo echo
site tag site
--- config: location /api/ { vmess_api main write; }
--- stream_config
vmess_users main:1m { }
server { vmess_listen site; proxy_pass 127.0.0.1:%%site%%; }
--- no_defaults
--- stream_server_config
vmess main;
vmess_allow 127.0.0.0/8;
vmess_fallback site;
proxy_pass vmess_target;
--- stream_client
my $set = sub {
    my ($what) = @_;
    my $body = qq({"id":"$User{alice}"$what});
    my $s = tcp(http_port());
    put($s, "PUT /api/users/alice HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
            . "Content-Type: application/json\r\nContent-Length: " . length($body) . "\r\n\r\n$body");
    return slurp($s) =~ m{^HTTP/1.1 20};
};
for my $limit ('"disabled":true', '"expires":"2020-01-01"', '"quota":1') {
    ok($set->(''), 'no limit');
    flow(to => 'echo', data => 'hello')->read(5) eq 'hello' or die 'no flow';
    ok($set->(",$limit"), $limit);
    my $v = vmess(to => 'echo');
    my $bytes = $v->header . $v->chunk('a') . 'x' x 3000;
    for my $when ('refused', 'recorded and sent again') {
        my $s = tcp();
        put($s, $bytes);
        shutdown $s, 1;
        is(slurp($s), "site:$bytes", $when);
        $set->('');
    }
}
1;
--- stream_response: 1
