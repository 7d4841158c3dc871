# Which targets a flow may reach, and how they are found.

use lib "t/lib";
use TestVMess;

plan "no_plan";
no_shuffle();

run_tests();

__DATA__

=== TEST 1: no spelling reaches loopback, private networks or sockets
--- no_defaults
--- servers
v4  tag reached
v6  tag@::1 reached
dns dns loop.test=127.0.0.1 loop6.test=::1 mapped.test=::ffff:127.0.0.1 rfc1918.test=10.1.2.3 meta.test=169.254.169.254 zero.test=0.0.0.0 zero6.test=:: ula.test=fd00::1 nat64.test=64:ff9b::7f00:1 two.test=127.0.0.2,127.0.0.1 localhost=127.0.0.1 localhost.localdomain=127.0.0.1 ip6-localhost=::1 vmess_target=127.0.0.1 site=127.0.0.1
--- stream_config
resolver 127.0.0.1:%%dns%%;
vmess_users main:1m { alice %%ALICE%%; }
log_format l '$vmess_status $status $upstream_addr';
upstream site { server 127.0.0.1:%%v4%%; }
--- stream_server_config
access_log %%DIR%%/stream.log l;
vmess main;
proxy_pass vmess_target;
--- stream_client
my @names = (
    # IPv4 loopback
    '127.0.0.1', '127.0.0.2', '127.1', '127.0.1', '127.255.255.254',
    '127.0.0.1.', '2130706433', '0x7f000001', '0x7F000001', '017700000001',
    '0x7f.0.0.1', '0x7f.1', '0177.0.0.1', '0177.1', '127.0.0.01',
    '127.000.000.001', '127.0.0.0x1', '00127.0.0.1', '4294967295',
    '18446744071562067969',
    # unspecified
    '0.0.0.0', '0', '0.0', '0x0', '00000000', '0.1', '0.0.0.1',
    # names
    'localhost', 'LOCALHOST', 'localhost.', 'localhost.localdomain',
    'ip6-localhost', 'loop.test', 'LOOP.test', 'loop.test.', 'loop6.test',
    'mapped.test', 'rfc1918.test', 'meta.test', 'zero.test', 'zero6.test',
    'ula.test', 'nat64.test', 'two.test', 'vmess_target', 'site',
    # private IPv4
    '10.0.0.1', '10.255.255.255', '172.16.0.1', '172.31.255.254',
    '192.168.0.1', '169.254.169.254', '100.64.0.1', '100.127.255.254',
    '224.0.0.1', '239.255.255.255', '255.255.255.255', '2852039166',
    '0xa9fea9fe', '0251.0376.0251.0376',
    # IPv6 in brackets
    '[::1]', '[::]', '[0:0:0:0:0:0:0:1]', '[0000::0001]', '[::ffff:127.0.0.1]',
    '[::FFFF:7f00:1]', '[::127.0.0.1]', '[::7f00:1]', '[64:ff9b::127.0.0.1]',
    '[2002:7f00:1::]', '[::ffff:0:127.0.0.1]', '[fe80::1]', '[fe80::1%lo]',
    '[fc00::1]', '[fd12:3456::1]', '[ff02::1]', '[::ffff:169.254.169.254]',
    '[64:ff9b:1::127.0.0.1]', '[64:ff9b:1::8.8.8.8]', '[2001::1]', '[2001:0:1::1]',
    # bare IPv6, and what is no name at all
    '::1', '::', '::ffff:127.0.0.1', 'unix:/tmp/x', 'unix', 'unix:',
    '127.0.0.1:80', 'http://127.0.0.1', 'a@127.0.0.1', '127.0.0.1/8',
    '127.0.0.1#', '127.0.0.1 ', ' 127.0.0.1', "127.0.0.1\0.test",
    "127.0.0.1\n", '$host', '127%2e0.0.1', "127\xe3\x80\x820\xe3\x80\x820.1",
    "\xe2\x91\xa0\xe2\x91\xa1\xe2\x91\xa6.0.0.1", '[127.0.0.1]', '[::1', '::1]',
    '..', '.', '-', '_', 'a..b',
);
my @typed = map { my $a = $_; map { pack('n', $_) . $a } port('v4'), port('v6') }
    (map { "\x01" . inet_aton($_) } qw(127.0.0.1 0.0.0.0 10.0.0.1 169.254.169.254
                                       192.168.1.1 100.64.0.1 224.0.0.1)),
    (map { "\x03" . inet_pton(AF_INET6, $_) } qw(::1 :: ::ffff:127.0.0.1
        ::127.0.0.1 64:ff9b::127.0.0.1 2002:7f00:1:: fe80::1 fc00::1 ff02::1
        ::ffff:0:127.0.0.1));

my (@reached, $n);
for my $address ((map { my $h = $_; map { VMess::domain_address($h, $_) }
                        port('v4'), port('v6') } @names), @typed)
{
    my $f = flow(address => $address, data => 'hello');
    # what is refused as no valid header is drained
    eval { $f->send_raw('x' x 5000); };
    my $got = eval { $f->read_eof } // $@;
    push @reached, hexdump($address) . " $got" if $got ne '';
    $n++;
}
is("@reached", '', 'nothing was reached');

# silence is not enough: each has its line, which says why
wait_for(sub { $n <= (() = access_log() =~ /\n/g) });
is(scalar(() = access_log() =~ /\n/g), $n, 'each was refused');
cmp_ok(scalar(@names), '>=', 60, 'that many spellings');
my $alive = tcp(port('v4'));
put($alive, 'x');
is(read_n($alive, 9), 'reached:x', 'it could have been');

# those that nginx tried to reach are in the log with an address
my @tried = grep { !/^(?:denied 403|unresolved 502|header \d+|\S+ 400) -?$/ }
            split /\n/, access_log();
join ', ', @tried;
--- stream_response:


=== TEST 2: the log tells name and address
--- no_defaults
--- servers
dns dns loop.test=127.0.0.1
--- stream_config
resolver 127.0.0.1:%%dns%%;
vmess_users main:1m { alice %%ALICE%%; }
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
flow(host => $_, port => 22)->read_eof for qw(127.0.0.1 loop.test ::1);
1;
--- stream_response: 1
--- error_log
target "127.0.0.1:22" of user "alice" is forbidden
target "loop.test:22" of user "alice" is forbidden, address "127.0.0.1"
target "[::1]:22" of user "alice" is forbidden


=== TEST 3: allowed by block and by port
--- servers
one tag one
two tag two
six tag@::1 six
--- stream_config
vmess_allow 127.0.0.0/8 %%one%%;
vmess_allow ::1;
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
join ' ', map {
    my $f = flow(@$_, data => '!');
    $f->read(5) || 'refused';
} [ to => 'one' ], [ to => 'two' ], [ to => 'six', host => '::1' ],
  [ host => '127.0.0.3', port => 1 ];
--- stream_response: one:! refused six:! refused


=== TEST 4: lists and ranges of ports
--- servers
one tag one
two tag two
--- stream_config
vmess_allow 127.0.0.1 1-100,%%one%%,60999-65535;
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my $two = port('two') >= 60999 ? 'two:!' : 'refused';
is(flow(to => 'two', data => '!')->read(5) || 'refused', $two, 'not listed');
flow(to => 'one', data => '!')->read(5);
--- stream_response: one:!


=== TEST 5: the first rule that matches decides
--- servers
one tag one
dns dns a.bad.test=127.0.0.1 good.bad.test=127.0.0.1 bad.test=127.0.0.1 x.test=127.0.0.1 notbad.test=127.0.0.1 n7.test=127.0.0.1
--- stream_config
resolver 127.0.0.1:%%dns%%;
vmess_allow good.bad.test;
vmess_deny .bad.test;
vmess_deny x.test 1-1000;
vmess_deny ~^n[0-9]+\.test$;
vmess_allow private;
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
join ' ', map {
    flow(host => $_, to => 'one', data => '!')->read(5) || 'refused';
} qw(good.bad.test a.bad.test A.BAD.test x.test notbad.test n7.test N7.TEST
     GOOD.bad.test);
--- stream_response: one:! refused refused one:! one:! refused refused one:!


=== TEST 6: a name that is allowed does not exempt its addresses
--- no_defaults
--- servers
one tag one
dns dns a.test=127.0.0.1 b.test=127.0.0.1
--- stream_config
resolver 127.0.0.1:%%dns%%;
vmess_users main:1m { alice %%ALICE%%; }
vmess_allow a.test;
vmess_allow all;
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
join ' ', map {
    flow(host => $_, to => 'one', data => '!')->read(5) || 'refused';
} qw(a.test);
--- stream_response: refused
--- error_log
target "a.test:
is forbidden, address "127.0.0.1"


=== TEST 7: rules of a server replace those above
--- servers
one tag one
--- stream_config
vmess_deny all;
server {
    listen 127.0.0.1:%%PORT_1%%;
    vmess main;
    proxy_pass vmess_target;
}
--- stream_server_config
vmess main;
vmess_allow 127.0.0.1;
proxy_pass vmess_target;
--- stream_client
join ' ', map {
    flow(via => tcp($_), to => 'one', data => '!')->read(5) || 'refused';
} stream_port(), stream_port() + 1;
--- stream_response: one:! refused


=== TEST 8: a name that is denied is not asked for
--- servers
dns dns a.test=SILENT
--- stream_config
resolver 127.0.0.1:%%dns%%;
vmess_deny .test;
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
flow(host => 'a.test', port => 80, data => '!')->read_eof;
--- stream_response:
--- error_log
target "a.test:80" of user "alice" is forbidden
--- no_error_log
could not be resolved


=== TEST 9: of several addresses the dead ones are passed over
--- servers
one tag one
dns dns a.test=127.0.0.2,127.0.0.3,127.0.0.1
--- stream_config
resolver 127.0.0.1:%%dns%% ipv6=off;
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
join ' ', map { flow(host => 'a.test', to => 'one', data => '!')->read(5) } 1 .. 12;
--- stream_response eval
CORE::join ' ', ('one:!') x 12
--- error_log
Connection refused


=== TEST 10: of several addresses only the permitted ones are used
--- servers
one tag one
dns dns a.test=127.0.0.2,10.0.0.1,169.254.169.254,127.0.0.1
--- stream_config
resolver 127.0.0.1:%%dns%% ipv6=off;
log_format l '$upstream_addr';
vmess_allow 127.0.0.1;
--- stream_server_config
access_log %%DIR%%/stream.log l;
vmess main;
proxy_pass vmess_target;
--- stream_client
my @got = map { flow(host => 'a.test', to => 'one', data => '!')->read(5) } 1 .. 8;
wait_for(sub { my @l = split /\n/, access_log(); @l == 8 });
my $p = port('one');
is(join(' ', grep { $_ ne "127.0.0.1:$p" } split /\n/, access_log()), '',
   'no other was tried');
"@got";
--- stream_response eval
CORE::join ' ', ('one:!') x 8


=== TEST 11: names that cannot be resolved
--- servers
dns dns nx.test=NX fail.test=FAIL quiet.test=SILENT empty.test=
--- stream_config
resolver 127.0.0.1:%%dns%%;
resolver_timeout 500ms;
log_format l '$vmess_host $vmess_status $status';
--- stream_server_config
access_log %%DIR%%/stream.log l;
vmess main;
proxy_pass vmess_target;
--- stream_client
for (qw(nx fail quiet empty)) {
    my $f = flow(host => "$_.test", port => 22, data => 'x');
    is($f->read_eof, '', $_);
}
wait_for(sub { my @l = split /\n/, access_log(); @l == 4 });
join '', sort split /^/, access_log();
--- stream_response
empty.test unresolved 502
fail.test unresolved 502
nx.test unresolved 502
quiet.test unresolved 502
--- error_log
target "nx.test:22" of user "alice" could not be resolved (3: Host not found)
target "quiet.test:22" of user "alice" could not be resolved (110:
target "fail.test:22" of user "alice" could not be resolved (2:


=== TEST 12: a client that leaves while its target is resolved
--- servers
dns dns quiet.test=SILENT
--- stream_config
resolver 127.0.0.1:%%dns%%;
resolver_timeout 300ms;
log_format l '$vmess_host $vmess_status $status $upstream_addr';
--- stream_server_config
access_log %%DIR%%/stream.log l;
vmess main;
proxy_pass vmess_target;
--- stream_client
my @end = map {
    my $f = flow(host => "quiet.test", port => 22, data => 'x');
    $_ % 2 ? $f->close : $f->end;
    $_ % 2 ? () : $f;
} 1 .. 10;
is(join('', map { $_->read_eof } @end), '', 'no answer to those that wait');
wait_for(sub { 10 == (() = access_log() =~ /\n/g) });
my %lines;
$lines{$_}++ for split /\n/, access_log();
join ', ', map { "$lines{$_} $_" } sort keys %lines;
--- stream_response: 10 quiet.test unresolved 502 -
--- error_log
target "quiet.test:22" of user "alice" could not be resolved (110:
--- no_error_log
[error]


=== TEST 13: data that comes while the target is resolved is kept
--- servers
sink sink
dns dns a.test=127.0.0.1
--- stream_config
resolver 127.0.0.1:%%dns%%;
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my $data = pattern(400_000);
my $f = flow(host => 'a.test', to => 'sink');
$f->send($data)->end;
$f->read_all eq '400000 ' . sha256_hex($data) . "\n";
--- stream_response: 1


=== TEST 14: the operator's upstreams need no resolver and no rules
--- no_defaults
--- servers
one tag one
--- stream_config
vmess_users main:1m { alice %%ALICE%%; }
upstream u { server 127.0.0.1:%%one%%; }
--- stream_server_config
vmess main;
vmess_resolve off;
proxy_pass u;
--- stream_client
join ' ', map { flow(host => $_, port => 80, data => '!')->read(5) }
          'a.test', '127.0.0.1', '::1', 'nx.test';
--- stream_response: one:! one:! one:! one:!


=== TEST 15: without resolving, names cannot be vmess_target's
--- servers
one tag one
dns dns a.test=127.0.0.1
--- stream_config
resolver 127.0.0.1:%%dns%%;
log_format l '$vmess_host $vmess_status $status';
--- stream_server_config
access_log %%DIR%%/stream.log l;
vmess main;
vmess_resolve off;
proxy_pass vmess_target;
--- stream_client
is(flow(host => '127.0.0.1', to => 'one', data => '!')->read(5), 'one:!',
   'an address');
is(flow(host => 'a.test', to => 'one', data => '!')->read(5), '', 'a name');
wait_for(sub { access_log() =~ /a\.test/ });
(grep { /a\.test/ } split /\n/, access_log())[0];
--- stream_response: a.test unresolved 502


=== TEST 16: resolving that depends on a variable
--- servers
one tag one
dns dns a.test=127.0.0.1 b.test=127.0.0.1
--- stream_config
resolver 127.0.0.1:%%dns%%;
map $vmess_host $resolve { default on; b.test off; }
--- stream_server_config
vmess main;
vmess_resolve $resolve;
proxy_pass vmess_target;
--- stream_client
join ' ', map { flow(host => $_, to => 'one', data => '!')->read(5) || 'refused' }
          'a.test', 'b.test';
--- stream_response: one:! refused


=== TEST 17: IPv6 inside of the rules, IPv4 inside of IPv6
--- servers
one tag one
six tag@::1 six
--- stream_config
vmess_allow 127.0.0.1;
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
join ' ', map { flow(@$_, data => '!')->read(5) || 'refused' }
    [ address => pack('n C a16', port('one'), 3, "\0" x 10 . "\xff\xff\x7f\0\0\1") ],
    [ address => pack('n C a16', port('six'), 3, "\0" x 15 . "\1") ],
    [ address => VMess::domain_address('[::ffff:127.0.0.1]', port('one')) ];
--- stream_response: one:! refused one:!


=== TEST 18: names that are too long for DNS
--- servers
one tag one
dns dns aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.test=127.0.0.1
--- stream_config
resolver 127.0.0.1:%%dns%% ipv6=off;
log_format l '$vmess_status $status';
--- stream_server_config
access_log %%DIR%%/stream.log l;
vmess main;
proxy_pass vmess_target;
--- stream_client
is(flow(host => 'a' x 63 . '.test', to => 'one', data => '!')->read(5), 'one:!',
   'a label of 63 characters');
wait_for(sub { access_log() =~ /ok/ });
my $name = join('.', ('b' x 49) x 5) . '.test';
for ('a' x 64 . '.test', 'test.' . 'c' x 64, substr($name, 0, 254)) {
    my $f = flow(host => $_, to => 'one', data => '!');
    is($f->read_eof, '', length . ' characters');
}
is(length substr($name, 0, 254), 254, 'a name of 254 characters');
wait_for(sub { 4 == (() = access_log() =~ /\n/g) });
access_log();
--- stream_response
ok 200
unresolved 502
unresolved 502
unresolved 502
--- error_log eval
[qr/target "a{64}\.test:\d+" of user "alice" could not be resolved: a label or the name is too long/,
 qr/target "test\.c{64}:\d+" of user "alice" could not be resolved: a label or the name is too long/,
 qr/target "b{49}\.b[.b]*\.test:\d+" of user "alice" could not be resolved: a label or the name is too long/]


=== TEST 19: an address that does not answer holds up nobody
--- servers
one tag one
dns dns two.test=127.0.0.2,127.0.0.1 many.test=127.0.0.2,127.0.0.3,127.0.0.4,127.0.0.1 slow.test=127.0.0.2,127.0.0.3
--- stream_config
resolver 127.0.0.1:%%dns%% ipv6=off;
log_format l '$vmess_host $status $upstream_addr';
--- stream_server_config
access_log %%DIR%%/stream.log l;
vmess main;
proxy_pass vmess_target;
--- stream_client
# a full backlog: the kernel drops what else wants to connect
my (@full, @waiting);
for my $addr (qw(127.0.0.2 127.0.0.3 127.0.0.4)) {
    my $l = IO::Socket::INET->new(LocalAddr => $addr, LocalPort => port('one'),
                                  Proto => 'tcp', Listen => 1, ReuseAddr => 1) or die $!;
    listen($l, 0) or die $!;
    push @full, $l;
    for (1 .. 3) {
        push @waiting, IO::Socket::INET->new(PeerAddr => $addr, PeerPort => port('one'),
                                             Blocking => 0);
    }
}
for my $host (('two.test') x 6, ('many.test') x 4) {
    is(flow(host => $host, to => 'one', data => '!')->read(5), 'one:!', $host);
}

# the first one is not given up: it is taken as soon as there is room
my $f = flow(host => 'slow.test', to => 'one', quiet => 1, data => '!');
select undef, undef, undef, 0.6;       # all are being tried
close $_ for @waiting;
my ($sock, $text) = (undef, '');
my $set = IO::Select->new($full[0]);
while ($text ne '!' && $set->can_read(20 * $Scale)) {
    $sock = $full[0]->accept;
    sysread($sock, $text = '', 1);
}
is($text, '!', 'who waited is connected');
put($sock, 'late!');
is($f->read(5), 'late!', 'and used');
$sock->close;
$f->close;
wait_for(sub { access_log() =~ /slow/ });
my $p = port('one');
join ' ', sort map { /^(?:two|many)\S+ 200 .*127\.0\.0\.1:$p$/ ? () : $_ }
          grep { /two|many/ } split /\n/, access_log();
--- stream_response:


=== TEST 20: the order of families
--- servers
one tag one
dns dns both.test=::1,127.0.0.1 only6.test=::1
--- stream_config
resolver 127.0.0.1:%%dns%%;
log_format l '$server_port $vmess_host $vmess_addr $vmess_status $status $upstream_addr';
access_log %%DIR%%/stream.log l;
map $vmess_host $on { default on; }
vmess_resolve on prefer_ipv4;
server { listen 127.0.0.1:%%PORT_1%%; vmess main; proxy_pass vmess_target; }
server { listen 127.0.0.1:%%PORT_2%%; vmess main; vmess_resolve prefer_ipv6; proxy_pass vmess_target; }
server { listen 127.0.0.1:%%PORT_3%%; vmess main; vmess_resolve $on ipv4; proxy_pass vmess_target; }
server { listen 127.0.0.1:%%PORT_4%%; vmess main; vmess_resolve ipv6; proxy_pass vmess_target; }
server { listen 127.0.0.1:%%PORT_5%%; vmess main; vmess_resolve on; proxy_bind 127.0.0.1; proxy_pass vmess_target; }
server { listen 127.0.0.1:%%PORT_6%%; vmess main; vmess_resolve on; proxy_bind ::1; proxy_pass vmess_target; }
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my $six = IO::Socket::IP->new(LocalHost => '::1', LocalPort => port('one'), Listen => 200,
                              ReuseAddr => 1) or die $!;
my $pid = fork // die $!;
unless ($pid) {
    while (my $s = $six->accept) { sysread($s, my $b, 9); syswrite($s, "six:$b"); push @main::keep, $s }
    POSIX::_exit(0);
}
my %got;
for my $n (1 .. 6) {
    my %seen;
    $seen{flow(via => tcp(stream_port() + $n), host => 'both.test', to => 'one', data => '!')->read(5)}++
        for 1 .. 12;
    is(join(' ', %seen), ($n % 2 ? 'one:!' : 'six:!') . ' 12', "both.test by server $n");
}
for my $n (1 .. 6) {
    is(flow(via => tcp(stream_port() + $n), host => 'only6.test', to => 'one', data => '!')->read(5),
       $n == 3 || $n == 5 ? '' : 'six:!', "only6.test by server $n");
}
is(flow(via => tcp(stream_port() + 5), host => '::1', to => 'one', data => '!')->read(5), '',
   'an address that proxy_bind cannot reach');
is(flow(via => tcp(stream_port() + 3), host => '::1', to => 'one', data => '!')->read(5), 'six:!',
   'an address of the client is no matter of vmess_resolve');
kill 'KILL', $pid;
waitpid $pid, 0;
wait_for(sub { 80 == (() = access_log() =~ /\n/g) });
my $p = port('one');
my %bad;
for (split /\n/, access_log()) {
    my ($port, $host, $addr, $status, $code, $upstream) = split;
    next if $status eq 'unresolved' && $code == 502;
    $bad{$_}++ if $code != 200 || $upstream ne ($addr =~ /:/ ? "[$addr]:$p" : "$addr:$p");
}
join ', ', sort keys %bad;
--- stream_response:
--- error_log
has no address of the family in "vmess_resolve"
has no address of the family of "proxy_bind 127.0.0.1"
--- no_error_log
[crit]
[error]


=== TEST 21: a datagram that nobody answers is followed by one to the next address
--- servers
tag udp_tag one
dns dns a.test=127.0.0.2,127.0.0.1 both.test=::1,127.0.0.1
--- stream_config
resolver 127.0.0.1:%%dns%%;
vmess_resolve prefer_ipv6;
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my $n = 0;
for my $host (('a.test') x 4, 'both.test') {
    my $f = flow(cmd => 'udp', host => $host, to => 'tag', data => 'x');
    my $tries = 0;
    my $set = IO::Select->new($f->{sock});
    $f->send('x') until $set->can_read(0.1) || $tries++ > 50 * $Scale;
    is($f->receive, 'one:x', $host);
    $n += $tries;
}
cmp_ok($n, '>', 0, 'some were not answered at first');
--- stream_response: 1


=== TEST 22: names of rules are not for addresses, and addresses behind "all" are for names
--- no_defaults
--- servers
one tag one
dns dns a.test=127.0.0.1 b.test=127.0.0.1 c.test=127.0.0.2
--- stream_config
resolver 127.0.0.1:%%dns%%;
vmess_users main:1m { alice %%ALICE%%; }
server {
    listen 127.0.0.1:%%PORT_1%%;
    vmess main;
    vmess_deny ~^127;
    vmess_allow private;
    proxy_pass vmess_target;
}
server {
    listen 127.0.0.1:%%PORT_2%%;
    vmess main;
    vmess_allow ~.;
    proxy_pass vmess_target;
}
server {
    listen 127.0.0.1:%%PORT_3%%;
    vmess main;
    vmess_allow ~^127;
    vmess_allow all;
    proxy_pass vmess_target;
}
server {
    listen 127.0.0.1:%%PORT_4%%;
    vmess main;
    vmess_allow a.test;
    vmess_allow c.test;
    vmess_deny all;
    vmess_allow 127.0.0.1;
    proxy_pass vmess_target;
}
server {
    listen 127.0.0.1:%%PORT_5%%;
    vmess main;
    vmess_allow a.test;
    vmess_allow all;
    vmess_deny 127.0.0.1;
    proxy_pass vmess_target;
}
server {
    listen 127.0.0.1:%%PORT_6%%;
    vmess main;
    vmess_deny ::ffff:127.0.0.0/104;
    vmess_allow private;
    proxy_pass vmess_target;
}
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my $try = sub {
    my ($n, @hosts) = @_;
    return join ' ', map { flow(via => tcp(stream_port() + $n), host => $_, to => 'one',
                                data => '!')->read(5) || 'refused' } @hosts;
};
is($try->(1, '127.0.0.1', '127.0.0.2'), 'one:! refused',
   'a name that is denied is no address (nobody listens on the other one)');
is($try->(2, '127.0.0.1', 'a.test'), 'refused refused', 'a name that is allowed is none');
is($try->(3, '127.0.0.1'), 'one:!', 'nor does it take an address away from "all"');
is($try->(4, qw(a.test b.test c.test 127.0.0.1)), 'one:! refused refused refused',
   'an address behind "deny all" is for names that were allowed before');
is($try->(5, qw(a.test b.test 127.0.0.1)), 'refused one:! one:!',
   'so is one behind "allow all"');
is($try->(6, '127.0.0.1', 'a.test', '::ffff:127.0.0.1'), 'refused refused refused',
   'a block of IPv4 as mapped into IPv6');
1;
--- stream_response: 1


=== TEST 23: what is denied says so
--- no_defaults
--- servers
dns dns loop.test=127.0.0.1
--- stream_config
resolver 127.0.0.1:%%dns%%;
vmess_users main:1m { alice %%ALICE%%; }
log_format l '$vmess_host $vmess_status $status';
--- stream_server_config
access_log %%DIR%%/stream.log l;
vmess main;
proxy_pass vmess_target;
--- stream_client
my @hosts = ('64:ff9b:1::7f00:1', '64:ff9b:1::808:808', '2001::1', '2001:0:4136:e378:8000:63bf:3fff:fdd2',
             '2002:7f00:1::', '64:ff9b::7f00:1', '::7f00:1', 'fe80::1', 'fec0::1', '::',
             '0x7f000001', '0x7f.0x1', 'a.0x7f', 'a.0xf', '0xffffffffffff', '1', 'a.1', '127.1', '0', '00',
             '0x', 'a.0x', 'loop.test');
for (@hosts) {
    is(flow(host => $_, port => 22, data => 'x')->read_eof, '', $_);
}
wait_for(sub { @hosts == (() = access_log() =~ /\n/g) });
my %status = map { /^(\S+) (.*)/ } split /\n/, access_log();
join ', ', map { $status{$_} eq 'denied 403' ? () : "$_: $status{$_}" } sort keys %status;
--- stream_response:


=== TEST 24: names by which clients mean another protocol
--- servers
dns dns sp.mux.sing-box.arpa=127.0.0.1
--- stream_config
resolver 127.0.0.1:%%dns%%;
log_format l '$vmess_host $vmess_status $status';
--- stream_server_config
access_log %%DIR%%/stream.log l;
vmess main;
proxy_pass vmess_target;
--- stream_client
flow(host => $_, port => 444, data => 'x')->read_eof
    for 'sp.mux.sing-box.arpa', 'SP.mux.sing-box.arpa.', 'sp.v2.udp-over-tcp.arpa';
wait_for(sub { 3 == (() = access_log() =~ /\n/g) });
access_log();
--- stream_response
sp.mux.sing-box.arpa denied 403
sp.mux.sing-box.arpa denied 403
sp.v2.udp-over-tcp.arpa denied 403
--- error_log
target "sp.mux.sing-box.arpa:444" of user "alice" is "multiplex" of sing-box: turn it off in the client
target "sp.v2.udp-over-tcp.arpa:444" of user "alice" is "udp_over_tcp" of sing-box: turn it off in the client


=== TEST 25: a name that is none is shown
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
for ("a b\x01\"", "http://x", "\xc3\xa9.test") {
    my $f = flow(address => VMess::domain_address($_, 80));
    eval { $f->send_raw('x' x 5000) };
    $f->read_eof;
}
1;
--- stream_response: 1
--- error_log
of user "alice": invalid domain "a\x20b\x01\x22"
of user "alice": invalid domain "http://x"
of user "alice": invalid domain "\xc3\xa9.test"


=== TEST 26: what is forbidden is denied, and not merely without an answer
--- no_defaults
--- stream_config
vmess_users main:1m { alice %%ALICE%%; }
log_format l '$vmess_host $vmess_status $status';
--- stream_server_config
access_log %%DIR%%/stream.log l;
vmess main;
proxy_pass vmess_target;
--- stream_client
my @hosts = qw(127.1 127.0.0.01 2130706433 0x7f000001 0x7f.0.0.1 127.0.0.0x1
               0177.0.0.1 017700000001 0);
my @addresses = qw(64:ff9b::a00:1 64:ff9b:1::808:808 2001:0:808:808:: 2002:a00:1::
                   ::ffff:0:10.0.0.1 ::10.0.0.1 ::ffff:10.0.0.1);
for my $address ((map { VMess::domain_address($_, 80) } @hosts),
                 map { pack('n', 80) . "\x03" . inet_pton(AF_INET6, $_) } @addresses)
{
    flow(address => $address, data => 'hello')->read_eof;
}
my $n = @hosts + @addresses;
is(wait_for(sub { (() = access_log() =~ /\n/g) == $n }), 1, "$n of them");
join ', ', grep { !/ denied 403$/ } split /\n/, access_log();
--- stream_response:


=== TEST 27: rules of names are no matter of targets that are addresses
--- no_defaults
--- servers
v4 tag reached
v6 tag@::1 reached
dns dns a.test=127.0.0.1
--- stream_config
resolver 127.0.0.1:%%dns%%;
vmess_users main:1m { alice %%ALICE%%; }
log_format l '$vmess_host $vmess_status';
server {
    listen 127.0.0.1:%%PORT_1%%;
    access_log %%DIR%%/stream.log l;
    vmess main;
    vmess_deny ~.;
    vmess_deny .test;
    vmess_allow 127.0.0.0/8;
    vmess_allow ::1;
    proxy_pass vmess_target;
}
--- stream_server_config
access_log %%DIR%%/stream.log l;
vmess main;
vmess_allow ~.;
vmess_allow .test;
proxy_pass vmess_target;
--- stream_client
my @targets = ([ '127.0.0.1', 'v4' ], [ '::1', 'v6' ]);
for (@targets) {
    my ($host, $name) = @$_;
    is(flow(host => $host, port => port($name), data => 'x')->read_eof, '',
       "$host is not allowed by its look");
    is(flow(via => tcp(stream_port() + 1), host => $host, port => port($name),
            data => 'x')->read(9), 'reached:x', 'nor denied');
}
is(flow(host => 'a.test', port => port('v4'), data => 'x')->read_eof, '',
   'nor is an address by the name that led to it');
flow(via => tcp(stream_port() + 1), host => 'a.test', port => port('v4'),
     data => 'x')->read_eof;
is(wait_for(sub { (() = access_log() =~ /\n/g) == 6 }), 1, 'all of them');
join ' ', sort grep { / denied/ } split /\n/, access_log();
--- stream_response: 127.0.0.1 denied ::1 denied a.test denied a.test denied


=== TEST 28: rules for addresses before and after "all"
--- no_defaults
--- servers
v4 tag reached
dns dns a.test=127.0.0.1 b.test=SILENT
--- stream_config
resolver 127.0.0.1:%%dns%%;
resolver_timeout 500ms;
vmess_users main:1m { alice %%ALICE%%; }
log_format l '$server_port $vmess_host $vmess_status';
access_log %%DIR%%/stream.log l;
server {
    listen 127.0.0.1:%%PORT_1%%;
    vmess main;
    vmess_deny 10.0.0.0/8;
    vmess_deny all;
    proxy_pass vmess_target;
}
server {
    listen 127.0.0.1:%%PORT_2%%;
    vmess main;
    vmess_deny 10.0.0.0/8;
    vmess_deny private 1-2;
    vmess_allow 127.0.0.0/8;
    vmess_deny all;
    proxy_pass vmess_target;
}
--- stream_server_config
vmess main;
vmess_allow 127.0.0.0/8;
vmess_deny all;
proxy_pass vmess_target;
--- stream_client
my $get = sub {
    my ($n, $host) = @_;
    my $f = flow(via => tcp(stream_port() + $n), host => $host, port => port('v4'),
                 data => 'x');
    my $got = $f->read(9);
    $f->close;
    return $got;
};
is($get->(0, $_), 'reached:x', "$_ is allowed before all") for qw(127.0.0.1 a.test);
is($get->(2, $_), 'reached:x', "$_ is, behind what is denied") for qw(127.0.0.1 a.test);
is($get->(1, $_), '', "$_ is denied") for qw(127.0.0.1 a.test);

# where no rule can allow an address, the name is not asked for
is($get->(1, 'b.test'), '', 'denied at once');
is($get->(0, 'b.test'), '', 'asked for');
is(wait_for(sub { (() = access_log() =~ /\n/g) == 8 }), 1, 'all of them');
join ' ', map { s/^\d+ //r } sort grep { /b\.test/ } split /\n/, access_log();
--- stream_response: b.test unresolved b.test denied
