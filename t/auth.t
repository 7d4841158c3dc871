# The request header: who is let in, and what is said about the others.

use lib "t/lib";
use TestVMess;

plan "no_plan";
no_shuffle();
run_tests();

__DATA__

=== TEST 1: every security with every combination of options
--- servers
echo echo
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my @bad;
my $n = 0;
my $data = pattern(3000);

for my $sec (3, 4, 5) {
    for my $opt (0 .. 255) {
        next if ($opt & 0x0c) == 0x08;      # padding needs masking
        my $f = eval { flow(sec => $sec, opt => $opt, to => 'echo',
                            data_max => 700, data => $data) };
        my $got = eval { $f->read(length $data) };
        $n++;
        push @bad, "$sec/$opt $@" unless defined $got && $got eq $data;
        last if @bad > 5;
    }
}
is("@bad", '', 'echoed in all');
$n;
--- stream_response: 576
--- no_error_log
[error]


=== TEST 2: global padding without masking is refused
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my $f = flow(opt => 'SP', host => '127.0.0.1', port => 9);
$f->send_raw('x' x 4000);
$f->read_eof;
$f->{received};
--- stream_response: 0
--- error_log
client sent invalid VMess header of user "alice"


=== TEST 3: a header that arrives one byte at a time
--- servers
echo echo
--- stream_server_config
tcp_nodelay on;
vmess main;
proxy_pass vmess_target;
--- stream_client
my $s = tcp();
setsockopt($s, Socket::IPPROTO_TCP, Socket::TCP_NODELAY, 1);
my $v = vmess(to => 'echo', pad => 15);
for (split //, $v->header . $v->chunk('hello')) {
    put($s, $_);
    select undef, undef, undef, 0.002;
}
$v->connect($s, quiet => 1);
$v->read(5);
--- stream_response: hello


=== TEST 4: a header and its data cut anywhere
--- servers
echo echo
--- stream_config
vmess_handshakes worker=400 address=400;
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my @flows;
my $len = length vmess(to => 'echo', pad => 3)->header;
for my $cut (1 .. $len + 20) {
    my $v = vmess(to => 'echo', pad => 3);
    my $wire = $v->header . $v->chunk('hello' x 10);
    my $s = tcp();
    setsockopt($s, Socket::IPPROTO_TCP, Socket::TCP_NODELAY, 1);
    put($s, substr($wire, 0, $cut));
    push @flows, [ $v, $s, substr($wire, $cut) ];
}
is(wait_taken(), 1, 'the first parts are read alone');
my @bad;
for my $i (0 .. $#flows) {
    my ($v, $s, $rest) = @{ $flows[$i] };
    put($s, $rest);
    $v->connect($s, quiet => 1);
    my $got = eval { $v->read(50) } // $@;
    push @bad, $i + 1 if $got ne 'hello' x 10;
}
"@bad";
--- stream_response:


=== TEST 5: header, data and the end in one segment
--- servers
sink sink
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
join '', map {
    my $v = vmess(sec => $_, to => 'sink');
    my $s = tcp();
    put($s, $v->header . $v->chunk('hello') . $v->finish);
    $v->connect($s, quiet => 1);
    $v->read_all eq '5 ' . sha256_hex('hello') . "\n" ? 1 : 0;
} qw(aes-128-gcm chacha20-poly1305 none);
--- stream_response: 111


=== TEST 6: every form of address
--- servers
echo echo
six  echo@::1
dns  dns a.test=127.0.0.1 six.test=::1 A-b_c.test=NX a-b_c.test=127.0.0.1
--- stream_config
resolver 127.0.0.1:%%dns%%;
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my @bad;
my $domain = sub { address => VMess::domain_address($_[0], port($_[1])) };
my %form = (
    'IPv4'            => [ to => 'echo' ],
    'IPv6'            => [ host => '::1', to => 'six' ],
    'domain'          => [ host => 'a.test', to => 'echo' ],
    'upper case'      => [ host => 'A-B_C.TEST', to => 'echo' ],
    'IPv6 domain'     => [ host => 'six.test', to => 'six' ],
    'IPv4 as domain'  => [ $domain->('127.0.0.1', 'echo') ],
    'IPv6 as domain'  => [ $domain->('[::1]', 'six') ],
    'without brackets' => [ $domain->('::1', 'six') ],
    'mapped IPv4'     => [ address => pack('n C a16', port('echo'), 3,
                               "\0" x 10 . "\xff\xff\x7f\0\0\1") ],
);
for (sort keys %form) {
    my $got = eval { flow(@{ $form{$_} }, data => 'hello')->read(5) } // $@;
    push @bad, "$_: $got" if $got ne 'hello';
}
join ', ', @bad;
--- stream_response:


=== TEST 7: padding of the header, and what is not looked at
--- servers
echo echo
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my @bad;
my %case = (
    (map { ("padding $_" => [ pad => $_ ]) } 0 .. 15),
    'reserved byte'    => [ reserved => 255 ],
    'trailing byte'    => [ tail => 'x' ],
    'trailing bytes'   => [ tail => 'x' x 1990 ],
    '2048 bytes'       => [ tail => 'x' x (2048 - 49) ],
);
for (sort keys %case) {
    my $got = eval { flow(@{ $case{$_} }, to => 'echo', data => 'hello')
                     ->read(5) } // $@;
    push @bad, "$_: $got" if $got ne 'hello';
}
join ', ', @bad;
--- stream_response:


=== TEST 8: a name of 255 bytes
--- servers
echo echo
dns dns
--- stream_config
resolver 127.0.0.1:%%dns%%;
--- stream_server_config
vmess main;
vmess_resolve off;
proxy_pass 127.0.0.1:%%echo%%;
--- stream_client
flow(host => join('.', ('a' x 63) x 4), to => 'echo', data => 'hello')->read(5);
--- stream_response: hello


=== TEST 9: an unknown user
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my $f = flow(user => 'mallory', port => 9, data => 'x' x 5000);
$f->read_eof;
$f->{received};
--- stream_response: 0
--- error_log
client sent no VMess header of a known user


=== TEST 10: a clock within two minutes is right
--- servers
echo echo
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
join ' ', map { flow(skew => $_, to => 'echo', data => "$_")->read(length) }
          -118, -30, 0, 30, 118;
--- stream_response: -118 -30 0 30 118


=== TEST 11: the log tells the skew of a wrong clock
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
for my $skew (-123, 123, 3600, -3600, 86400 * 365) {
    my $f = flow(skew => $skew, port => 9, data => 'x' x 5000);
    $f->read_eof;
    is($f->{received}, 0, "$skew is refused");
}
1;
--- stream_response: 1
--- error_log eval
my $log = 'client sent VMess header of user "alice" with bad time, clock skew is';
[ map { qr/$log (?:$_) s/ }
      '-12[234]', '12[234]', '3(?:599|600|601)', '-3(?:599|600|601)',
      '3153(?:5999|6000|6001)' ]


=== TEST 12: times at the ends of what 64 bits hold
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my $n = 0;
for my $t ("\x80" . "\0" x 7, "\x7f" . "\xff" x 7, "\xff" x 8, "\0" x 8) {
    my $auth = $t . 'rand';
    $auth .= pack 'N', unpack 'N', Crypt::Checksum::CRC32::crc32_data($auth);
    my $f = flow(auth_plain => $auth, port => 9, data => 'x' x 5000);
    $f->read_eof;
    $n += $f->{received};
}
# far off, it may as well be nobody's header
my $log = qr{user "alice" with bad time|no VMess header of a known user};
wait_log($log, 4);
"$n " . log_count($log);
--- stream_response: 0 4


=== TEST 13: any bit that was changed is found
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
for my $where (qw(ltag lbody nonce body tag)) {
    my $f = flow(bad => $where, port => 9, data => 'x' x 5000);
    $f->read_eof;
    is($f->{received}, 0, "$where is refused");
}
my $f = flow(bad => 'crc', port => 9, data => 'x' x 5000);
$f->read_eof;
wait_log(qr/with bad tag/, 5);
log_count(qr/client sent VMess header of user "alice" with bad tag/) . ' '
. log_count(qr/client sent no VMess header of a known user/);
--- stream_response: 5 1


=== TEST 14: wrong lengths, a wrong check sum
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my @case = (
    [ length => 0 ], [ length => 1 ], [ length => 37 ], [ length => 41 ],
    [ length => 2049 ], [ length => 65520 ], [ length => 65535 ],
    [ tail => 'x' x 2010 ],
    [ fnv => 1 ],
    [ plain => "\x01" x 41 ], [ plain => "\x01" x 42 ],
);
my $n = 0;
for (@case) {
    my $f = flow(@$_, port => 9, data => 'x' x 5000);
    $f->read_eof;
    is($f->{received}, 0, "@$_[0] is refused") or next;
    $n++;
}
wait_log(qr/client sent invalid VMess header of user "alice": \w/, $n);
$n - log_count(qr/client sent invalid VMess header of user "alice": \w/);
--- stream_response: 0


=== TEST 15: fields that are not valid
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my @case = (
    (map { [ sec => $_ ] } 0, 2, 6 .. 15),
    (map { [ cmd => $_ ] } 0, 4, 127, 255),
    (map { [ address => pack 'n C a*', 9, $_, "\x7f\0\0\1" ] } 0, 4, 0x11, 255),
    (map { [ address => VMess::domain_address($_, 9) ] }
         '', ' ', 'a b', "a\0b", "\xc3\xa9.test", '::g', 'a/b', 'unix:/tmp/x',
         'a:80', '[::1', '[]', '%61.test', 'user@a.test'),
    [ address => "\0\x09\x02\xffabc" ],
    [ address => "\0\x09\x03abc" ],
);
my $n = 0;
for (@case) {
    my $f = flow(@$_, port => 9, data => 'x' x 5000);
    $f->read_eof;
    is($f->{received}, 0, "$$_[0] " . ($$_[1] =~ /^\d+$/ ? $$_[1]
                                       : hexdump($$_[1])) . ' is refused');
    $n++;
}
wait_log(qr/client sent invalid VMess header of user "alice": \w/, $n);
$n - log_count(qr/client sent invalid VMess header of user "alice": \w/);
--- stream_response: 0


=== TEST 16: port 0 leads nowhere
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my $f = flow(port => 0, data => 'x');
$f->read_eof;
length $f->{in};
--- stream_response: 0
--- no_error_log
[alert]


=== TEST 17: commands that are not listed are refused at once
--- servers
web http It works
--- stream_server_config
vmess main;
vmess_commands tcp;
vmess_fallback 127.0.0.1:%%web%%;
proxy_pass vmess_target;
--- stream_client
for my $cmd (qw(udp mux)) {
    my $f = flow(cmd => $cmd, port => 9);
    $f->read_eof;
    is($f->{received}, 0, "$cmd is refused");
}
1;
--- stream_response: 1
--- error_log
client of user "alice" requested command "udp", which is not allowed
client of user "alice" requested command "mux", which is not allowed


=== TEST 18: ciphers that are not listed are refused at once
--- servers
echo echo
web http It works
--- stream_server_config
vmess main;
vmess_ciphers aes-128-gcm zero;
vmess_fallback 127.0.0.1:%%web%%;
proxy_pass vmess_target;
--- stream_client
for my $sec (qw(none chacha20-poly1305 aes-128-cfb)) {
    my $f = flow(sec => $sec, opt => 'S', port => 9);
    $f->read_eof;
    is($f->{received}, 0, "$sec is refused");
}
join ' ', map { flow(sec => $_, to => 'echo', data => $_)->read(length) }
              qw(aes-128-gcm zero);
--- stream_response: aes-128-gcm zero
--- error_log
client of user "alice" requested cipher "none", which is not allowed
client of user "alice" requested cipher "chacha20-poly1305", which is not allowed
client of user "alice" requested cipher "aes-128-cfb", which is not allowed


=== TEST 19: the original body cipher is refused by default
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my $f = flow(sec => 'aes-128-cfb', opt => 'S', port => 9);
$f->read_eof;
$f->{received};
--- stream_response: 0
--- error_log
client of user "alice" requested cipher "aes-128-cfb", which is not allowed


=== TEST 20: headers that end too early
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my $wire = vmess(port => 9)->header;
my @sizes = (1, 15, 16, 17, 33, 34, 41, 42, 43, 60, length($wire) - 1);
for (@sizes) {
    my $s = tcp();
    put($s, substr(vmess(port => 9)->header, 0, $_));
    shutdown $s, 1;
    is(slurp($s), '', "nothing is said after $_ bytes");
}
wait_log(qr/client closed connection while sending VMess header/, 0 + @sizes);
@sizes - log_count(qr/client closed connection while sending VMess header/);
--- stream_response: 0


=== TEST 21: headers that take too long
--- stream_server_config
vmess main;
vmess_handshake_timeout 300ms;
proxy_pass vmess_target;
--- stream_client
my @socks;
for (0, 1, 16, 41, 60) {
    my $s = tcp();
    put($s, substr(vmess(port => 9)->header, 0, $_));
    push @socks, $s;
}
is(slurp($_), '', 'nothing is said') for @socks;
wait_log(qr/client timed out while sending VMess header/, 5);
log_count(qr/client timed out while sending VMess header/);
--- stream_response: 5


=== TEST 22: many users, the first and the last
--- servers
echo echo
--- stream_config eval
"vmess_users main:16m {\n"
. CORE::join('', map { sprintf "u%d 00000000-0000-4000-8000-%012x;\n", $_, $_ }
           1 .. 5000)
. "}"
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
join ' ', map {
    flow(uuid => sprintf('00000000-0000-4000-8000-%012x', $_), to => 'echo',
         data => $_)->read(length);
} 1, 2, 2500, 4999, 5000, 1;
--- stream_response: 1 2 2500 4999 5000 1


=== TEST 23: ids in every form
--- servers
echo echo
--- no_defaults
--- stream_config
vmess_allow private;
vmess_users main:1m {
    plain   b831381d-6324-4d53-ad4f-8cda48b30811;
    hex     ad9f3f5b3e554d6e8d9a5f2b5b1a3b44;
    upper   "5783A3E7-E373-51CD-8642-C83782B807C4";
    text    example;
    letter  a;
    long    123456789012345678901234567890;
    tail    "c831381d63244d53ad4f8cda48b308110000";
}
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
join ' ', map { flow(uuid => $_, to => 'echo', data => 'ok')->read(2) }
    'b831381d-6324-4d53-ad4f-8cda48b30811',
    'ad9f3f5b-3e55-4d6e-8d9a-5f2b5b1a3b44',
    '5783a3e7-e373-51cd-8642-c83782b807c4',
    'feb54431-301b-52bb-a6dd-e1e93e81bb9e',
    '35b65f33-a679-5e76-af3c-273ea349ede4',
    '3d2e4120-1e1e-52f0-b92d-f67cfbfb1982',
    'c831381d-6324-4d53-ad4f-8cda48b30811';
--- stream_response: ok ok ok ok ok ok ok


=== TEST 24: each server has its own users
--- servers
echo echo
--- stream_config
vmess_users main:1m { alice %%ALICE%%; }
vmess_users other:1m { bob %%BOB%%; }
server {
    listen 127.0.0.1:%%PORT_1%%;
    vmess other;
    proxy_pass vmess_target;
}
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my @got;
for my $port (stream_port(), stream_port() + 1) {
    for my $user (qw(alice bob)) {
        my $f = flow(via => tcp($port), user => $user, to => 'echo',
                     data => 'hello');
        $f->send_raw('x' x 5000) if ($user eq 'bob') != ($port != stream_port());
        push @got, $f->read(5) eq 'hello' ? 1 : 0;
    }
}
"@got";
--- stream_response: 1 0 0 1
