# The data of a flow: chunks of every shape, both ends, slow and broken peers.

use lib "t/lib";
use TestVMess;

plan "no_plan";
no_shuffle();

run_tests();

__DATA__

=== TEST 1: 8 MiB up in every security
--- servers
sink sink
count after 8388608
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my $data = pattern(8 << 20);
my $expect = length($data) . ' ' . sha256_hex($data) . "\n";
for ([ 'aes-128-gcm', 'SMP' ], [ 'chacha20-poly1305', 'SMPA' ],
     [ 'aes-128-gcm', '' ], [ 'none', 'SM' ])
{
    my $f = flow(sec => $$_[0], opt => $$_[1], to => 'sink');
    $f->send($data)->end;
    is($f->read_eof, $expect, "@$_");
}
my $f = flow(sec => 'zero', to => 'count');
$f->exchange($data, 12);
--- stream_response
got 8388608


=== TEST 2: 8 MiB down in every security
--- servers
src source 8388608
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my $expect = sha256_hex(pattern(8 << 20));
for ([ 'aes-128-gcm', 'SMP' ], [ 'chacha20-poly1305', 'SMPA' ],
     [ 'aes-128-gcm', '' ], [ 'none', 'SM' ], [ 'zero', '' ])
{
    my $f = flow(sec => $$_[0], opt => $$_[1], to => 'src');
    is(sha256_hex($f->read_eof), $expect, "@$_");
}
1;
--- stream_response: 1


=== TEST 3: both directions at once
--- servers
echo echo
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my $data = pattern(6_000_001);
for my $sec (qw(aes-128-gcm chacha20-poly1305 none zero)) {
    my $f = flow(sec => $sec, to => 'echo');
    is(sha256_hex($f->exchange($data, length $data)), sha256_hex($data), $sec);
}
1;
--- stream_response: 1


=== TEST 4: chunks of every size
--- servers
sink sink
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my @bad;
for my $sec (qw(aes-128-gcm none)) {
    for my $size (1, 2, 15, 16, 17, 1000, 4095, 4096, 8174, 16383, 16384, 16385,
                  32768, 65000, 65535 - 16 - 63)
    {
        my $data = pattern($size * 3 + 1);
        my $f = flow(sec => $sec, opt => $sec eq 'none' ? 'S' : 'SMP',
                     to => 'sink', data_max => $size, data => $data);
        $f->end;
        push @bad, "$sec $size"
            if $f->read_all ne length($data) . ' ' . sha256_hex($data) . "\n";
    }
}
my $data = pattern(65535);
my $f = flow(sec => 'none', opt => 'SM', to => 'sink', data_max => 65535,
             data => $data);
$f->end;
is($f->read_all, '65535 ' . sha256_hex($data) . "\n", 'the largest chunk');
"@bad";
--- stream_response:


=== TEST 5: more chunks than the counter of nonces holds
--- servers
echo echo
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my $data = pattern(70_000);
my $f = flow(opt => 'SM', to => 'echo', data_max => 1);
sha256_hex($f->exchange($data, length $data)) eq sha256_hex($data);
--- stream_response: 1


=== TEST 6: chunks that arrive in pieces
--- servers
echo echo
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my @bad;
for my $opt (qw(SMP SMPA)) {
    my $f = flow(opt => $opt, to => 'echo');
    setsockopt($f->{sock}, Socket::IPPROTO_TCP, Socket::TCP_NODELAY, 1);
    for my $n (1 .. 60) {
        my $wire = $f->chunk('a' x $n) . $f->chunk('b' x 5);
        my $cut = $n * 2 % length $wire;
        $f->send_raw(substr($wire, 0, $cut));
        select undef, undef, undef, 0.002;
        $f->send_raw(substr($wire, $cut));
        push @bad, "$opt $n" if $f->read($n + 5) ne 'a' x $n . 'bbbbb';
    }
}
"@bad";
--- stream_response:


=== TEST 7: an empty chunk before the first data is no end
--- servers
echo echo
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my $f = flow(to => 'echo');
$f->send_raw($f->{up}->seal(''));
$f->send('hello');
$f->read(5);
--- stream_response: hello


=== TEST 8: the end chunk reaches the target, the late answer the client
--- servers
sink sink
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my @bad;
for my $sec (qw(aes-128-gcm chacha20-poly1305 none)) {
    my $f = flow(sec => $sec, to => 'sink', data => 'hello');
    $f->end;
    my $got = $f->read_eof;
    push @bad, "$sec $got $f->{ended} $f->{eof}"
        if $got ne '5 ' . sha256_hex('hello') . "\n" || !$f->{ended};
}
join '; ', @bad;
--- stream_response:


=== TEST 9: clients that close their side without an end chunk
--- servers
sink sink
--- stream_server_config
vmess main;
proxy_half_close on;
proxy_pass vmess_target;
--- stream_client
my @bad;
for my $sec (qw(aes-128-gcm chacha20-poly1305 none zero)) {
    my $f = flow(sec => $sec, to => 'sink', data => 'hello');
    $f->shut;
    my $got = $f->read_eof;
    push @bad, "$sec $got" if $got ne '5 ' . sha256_hex('hello') . "\n";
}
join '; ', @bad;
--- stream_response:


=== TEST 10: data after the end chunk does not reach the target
--- servers
sink sink
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
# the answer may be lost with the reset that input which is not read brings
my $f = flow(to => 'sink', data => 'hello');
$f->send_raw($f->finish . $f->chunk('more'));
is(wait_log(qr{upstream disconnected, bytes from/to client:5/67,}), 1,
   'what came with the end is not looked at');

# more than is read at once
my $v = vmess(to => 'sink');
my $s = tcp();
put($s, $v->header . $v->chunk('hello') . $v->finish
        . join '', map { $v->chunk('more' x 3000) } 1 .. 40);
is(wait_log(qr{client sent data after its end.*upstream:0/5$}m), 1,
   'what comes behind it closes the flow');
log_count(qr/invalid VMess chunk/);
--- stream_response: 0


=== TEST 11: a target that closes without a word
--- servers
none source 0
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
join ' ', map {
    my $f = flow(sec => $_, to => 'none', data => 'x');
    my $got = $f->read_eof;
    length($got) . ($f->{response} ? ' header' : ' nothing') . " $f->{ended}";
} qw(aes-128-gcm none zero);
--- stream_response: 0 header 1 0 header 1 0 header 0


=== TEST 12: a target that speaks first
--- servers
ban banner 220 ready
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
join '', map { flow(sec => $_, to => 'ban')->read_eof }
             qw(aes-128-gcm chacha20-poly1305 none zero);
--- stream_response
220 ready
220 ready
220 ready
220 ready


=== TEST 13: the response header waits for the first data
--- servers
after after 5
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my $f = flow(to => 'after', data => 'hell');
is(IO::Select->new($f->{sock})->can_read(0.3) // 0, 0, 'nothing is sent before');
$f->send('o');
$f->read(5);
--- stream_response: got 5


=== TEST 14: a bit changed in a chunk ends the flow, and is not passed on
--- servers
echo echo
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my @got;
for my $opt (qw(S SM SMPA)) {
    for my $at (-1, -20) {
        my $f = flow(opt => $opt, to => 'echo', data => 'hello');
        push @got, $f->read(5);
        my $bad = $f->{up}->seal('y' x 100);
        substr($bad, $at - ($f->{up}{padding} ? 64 : 0), 1) ^= "\x01";
        eval { $f->send_raw($bad . 'x' x 70_000); $f->read_eof };
        push @got, length $f->{in};
    }
}
"@got";
--- stream_response: hello 0 hello 0 hello 0 hello 0 hello 0 hello 0
--- error_log
client sent


=== TEST 15: lengths that cannot be
--- servers
echo echo
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my @got;
for my $len (0, 1, 15) {
    my $f = flow(opt => 'S', to => 'echo', data => 'hello');
    push @got, $f->read(5);
    eval { $f->send_raw(pack('n', $len) . 'x' x 100); $f->read_eof };
    push @got, length $f->{in};
}
"@got";
--- stream_response: hello 0 hello 0 hello 0
--- error_log
client sent


=== TEST 16: a client that leaves within a chunk
--- servers
sink sink
--- stream_config
log_format l '$vmess_status $bytes_received $upstream_bytes_sent $status';
--- stream_server_config
access_log %%DIR%%/stream.log l;
vmess main;
proxy_pass vmess_target;
--- stream_client
for my $n (1 .. 10) {
    my $f = flow(to => 'sink', data => 'hello');
    my $wire = $f->chunk('x' x 100);
    $f->send_raw(substr($wire, 0, $n * 9));
    $f->close;
}
ok(wait_for(sub { (() = access_log() =~ /\n/g) == 10 }), 'all have ended');
my %line;
$line{$_}++ for split /\n/, access_log();
join ', ', map { "$line{$_} of $_" } sort keys %line;
--- stream_response: 10 of ok 5 5 200


=== TEST 17: a target that resets
--- servers
rst reset
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my $f = flow(to => 'rst', data => 'hello');
$f->read_eof;
length $f->{in};
--- stream_response: 0


=== TEST 18: a target that is not there
--- servers
dead dead
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my $f = flow(to => 'dead', data => 'hello');
$f->read_eof;
length $f->{in};
--- stream_response: 0
--- error_log
Connection refused


=== TEST 19: a slow reader gets all
--- servers
src source 24000000
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my $f = flow(to => 'src');
my $sha = Digest::SHA->new(256);
my $left = 24_000_000;
while ($left > 0) {
    my $n = $left < 400_000 ? $left : 400_000;
    my $got = $f->read($n);
    last if $got eq '';
    $sha->add($got);
    $left -= length $got;
    select undef, undef, undef, 0.01;
}
"$left " . ($sha->hexdigest eq sha256_hex(pattern(24_000_000)) ? 'same' : 'differs');
--- stream_response: 0 same


=== TEST 20: a slow target gets all
--- servers
slow sink 1
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my $data = pattern(8_000_000);
my $f = flow(to => 'slow');
$f->send($data)->end;
$f->read_all eq '8000000 ' . sha256_hex($data) . "\n";
--- stream_response: 1


=== TEST 21: 50 flows at once
--- servers
echo echo
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my @sec = qw(aes-128-gcm chacha20-poly1305 none zero);
my @f = map { flow(sec => $sec[$_ % 4], to => 'echo') } 0 .. 49;
for my $round (1 .. 5) {
    $f[$_]->send("$round " . pattern(2000 * ($_ + 1))) for 0 .. $#f;
    for (0 .. $#f) {
        my $want = "$round " . pattern(2000 * ($_ + 1));
        my $got = $f[$_]->read(length $want);
        fail("flow $_ round $round") if $got ne $want;
    }
}
1;
--- stream_response: 1


=== TEST 22: many small flows, one after the other
--- servers
echo echo
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my $n = 0;
for (1 .. 300) {
    my $f = flow(to => 'echo', data => "flow $_");
    $n++ if $f->read(length "flow $_") eq "flow $_";
    $f->end if $_ % 2;
    $f->close;
}
$n;
--- stream_response: 300


=== TEST 23: with small buffers of the proxy
--- servers
echo echo
--- stream_server_config
vmess main;
proxy_buffer_size 1k;
proxy_pass vmess_target;
--- stream_client
my $data = pattern(300_000);
my $n = 0;
for my $opt ('S', 'SMP', 'SMPA') {
    my $f = flow(opt => $opt, to => 'echo', data_max => 5000);
    $n++ if $f->exchange($data, length $data) eq $data;
}
$n;
--- stream_response: 3


=== TEST 24: with large buffers of the proxy
--- servers
echo echo
--- stream_server_config
vmess main;
proxy_buffer_size 512k;
proxy_pass vmess_target;
--- stream_client
my $data = pattern(5_000_000);
my $n = 0;
for my $opt ('S', 'SMP', 'SMPA') {
    my $f = flow(opt => $opt, to => 'echo');
    $n++ if $f->exchange($data, length $data) eq $data;
}
$n;
--- stream_response: 3


=== TEST 25: with proxy_half_close the end chunk ends a direction, too
--- servers
sink sink
echo echo
--- stream_server_config
vmess main;
proxy_half_close on;
proxy_pass vmess_target;
--- stream_client
for my $sec (qw(aes-128-gcm none)) {
    my $f = flow(sec => $sec, to => 'sink', data => 'hello');
    $f->end;
    is($f->read_eof, '5 ' . sha256_hex('hello') . "\n", "$sec, a late answer");
    is($f->{ended}, 1, 'its end chunk');
    is($f->{eof}, 1, 'and the end of the connection');
}
my $f = flow(to => 'echo', data => 'hello');
$f->end;
$f->read_eof;
--- stream_response: hello
