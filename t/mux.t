# Mux.Cool: many sub-connections in one connection of a client.

use lib "t/lib";
use TestVMess;
use VMess::GRPC;
use VMess::HTTP2;
use VMess::Mux;

plan "no_plan";
no_shuffle();


# a connection with sub-connections

sub mux { return VMess::Mux->new(flow(cmd => 'mux', @_)) }

sub lines { return scalar(my @l = split /\n/, access_log()) }
sub log_line { return (grep { /$_[0]/ } split /\n/, access_log())[0] // '' }


# writes bytes until nothing was taken for half a second: how many were

sub stuff {
    my ($f, $bytes) = @_;
    my ($off, $sock) = (0, $f->{sock});
    while ($off < length $bytes) {
        my $n = syswrite($sock, $bytes, 1 << 16, $off);
        $off += $n // 0;
        next if $n;
        last unless IO::Select->new($sock)->can_write(0.5 * $Scale);
    }
    return $off;
}


# a new socket of each carrier, with the servers below

our $Stream = <<'END';
log_format l '$vmess_carrier $vmess_command $vmess_mux_id';
server {
    listen 127.0.0.1:%%PORT_2%% ssl;
    ssl_certificate %%CERT%%;
    ssl_certificate_key %%KEY%%;
    vmess main;
    proxy_pass vmess_target;
    access_log %%DIR%%/stream.log l;
}
server {
    vmess_listen ray;
    vmess main;
    proxy_pass vmess_target;
    access_log %%DIR%%/stream.log l;
}
END

our $HTTP = <<'END';
server {
    listen 127.0.0.1:%%PORT_3%% http2;
    location = /svc/Tun { vmess_pass ray; }
    location = /h2 { vmess_pass ray; }
}
END

our @carriers = qw(tcp tls websocket httpupgrade grpc http);

sub carrier {
    my ($name) = @_;

    my %port = (websocket => http_port(), httpupgrade => http_port(),
                tls => stream_port() + 2, http => stream_port() + 3,
                grpc => stream_port() + 3);
    my $s = tcp($port{$name});

    return $s if $name eq 'tcp';
    return tls(sock => $s) if $name eq 'tls';
    return ws(via => $s, upgrade => $name eq 'httpupgrade')
        if $name =~ /^(?:websocket|httpupgrade)$/;

    my $c = VMess::HTTP2->new($s);

    return $c->request('PUT', '/h2') if $name eq 'http';
    return $c->request('POST', '/svc/Tun', codec => VMess::GRPC->new,
                       headers => [ 'content-type' => 'application/grpc',
                                    te => 'trailers' ]);
}

# a piece of the reference

sub doc {
    my ($re) = @_;
    open my $fh, '<', 'docs/ngx_stream_vmess_module.md' or die $!;
    local $/;
    my ($text) = <$fh> =~ $re or die "nothing like that in the docs";
    return $text;
}

run_tests();

__DATA__

=== TEST 1: a sub-connection, in every security
--- servers
echo echo
src source 1000000
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my $data = pattern(500_000);
for my $sec (qw(aes-128-gcm chacha20-poly1305 none zero)) {
    my $m = mux(sec => $sec);
    $m->open(1, port => port('echo'));
    $m->write(VMess::Mux::run(1, $data));
    is(sha256_hex($m->read(1, length $data)), sha256_hex($data), "$sec, both ways");

    # a source closes: its end comes behind all it has sent
    $m->open(2, port => port('src'));
    is(sha256_hex($m->read_all(2)), sha256_hex(pattern(1_000_000)), 'down');
    is($m->{sub}{2}{end}, 0, 'End');

    # the connection is there, whatever its sub-connections do
    $m->keep(1, 'still');
    is($m->read(1, 5), 'still', 'the other goes on');
    $m->close;
}
--- no_error_log
[error]


=== TEST 2: 100 sub-connections at once, check sums both ways
--- servers
echo echo
src source 300000
sum after 70000
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my $m = mux();
my @id = 1 .. 100;
$m->write(join '', map { VMess::Mux::opening($_, port => port(qw(echo src sum)[$_ % 3])) }
                       @id);
$m->expect(@id);

# some of each in turn
my %up;
for my $round (0 .. 6) {
    my $out = '';
    for my $id (@id) {
        my $data = substr(pattern(200_000), $id * 100 + $round * 10_000, 10_000);
        $up{$id} .= $data;
        next if $id % 3 == 1;
        $out .= VMess::Mux::run($id, $data, 1 + $id * 50);
    }
    $m->write($out);
}

my %bad;
for my $id (@id) {
    if ($id % 3 == 0) {
        $bad{$id} = 1 if $m->read($id, length $up{$id}) ne $up{$id};
    } elsif ($id % 3 == 1) {
        $bad{$id} = 1 if $m->read_all($id) ne pattern(300_000);
    } else {
        $bad{$id} = 1 if $m->read_all($id) ne "got 70000\n";
    }
}
join ' ', sort keys %bad;
--- stream_response:
--- no_error_log
[error]


=== TEST 3: frames and chunks have borders of their own
--- servers
echo echo
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
# a byte in a chunk
my $f = flow(cmd => 'mux');
my $m = VMess::Mux->new($f)->expect(1, 7);
my $bytes = VMess::Mux::opening(1, port => port('echo'), data => 'hello')
            . VMess::Mux::keeping(1, ' world')
            . VMess::Mux::frame(1, 4, data => 'ignored', meta => 'padding')
            . VMess::Mux::opening(7, domain => '127.0.0.1', port => 1, extra => 'x' x 400)
            . VMess::Mux::keeping(1, ', again');
$f->send_raw(join '', map { $f->chunk($_) } split //, $bytes);
is($m->read(1, 18), 'hello world, again', 'a byte in a chunk');

# all in one, the header of the flow as well
$f = flow(cmd => 'mux', data => $bytes);
$m = VMess::Mux->new($f)->expect(1, 7);
is($m->read(1, 18), 'hello world, again', 'all in one chunk');

# each border
$f = flow(cmd => 'mux');
$m = VMess::Mux->new($f);
for my $at (1 .. 40) {
    my $one = VMess::Mux::opening($at, port => port('echo'), data => "flow $at;");
    $m->expect($at);
    $f->send(substr($one, 0, $at));
    $f->send(substr($one, $at) . VMess::Mux::keeping($at, 'x' x 10));
    is($m->read($at, 16 + length $at), "flow $at;" . 'x' x 10, "cut at $at");
}

# the largest frame
$m->open(99, port => port('echo'));
$m->keep(99, pattern(65535));
$m->read(99, 65535) eq pattern(65535);
--- stream_response: 1


=== TEST 4: New twice, ids that are free again, Keep of none
--- servers
a tag a
b tag b
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my $m = mux();
$m->open(1, port => port('a'), data => 'x');
is($m->read(1, 3), 'a:x', 'New with data');

# the End is for the second: the first goes on
$m->write(VMess::Mux::opening(1, port => port('b'), data => 'lost'));
is($m->ended(1), 2, 'End with an error');
$m->{sub}{1}{end} = undef;
$m->keep(1, 'more');
is($m->read(1, 4), 'more', 'the first goes on');

# after End of the client the id is free at once, what was sent arrives
$m->open(2, port => port('a'), data => 'y');
is($m->read(2, 3), 'a:y', 'another');
$m->end(2);
$m->open(2, port => port('b'), data => 'z');
is($m->read(2, 3), 'b:z', 'its id again');

# unknown ids: End comes back, data is not taken for a frame
$m->expect(77);
$m->keep(77, VMess::Mux::opening(78, port => port('a')));
is($m->ended(77), 0, 'End');
$m->write(VMess::Mux::keeping(79, undef) . VMess::Mux::ending(80)
          . VMess::Mux::ending(81, 2) . VMess::Mux::frame(3, 4));
$m->write(VMess::Mux::frame(82, 3, opt => 1, data => 'of an End')
          . VMess::Mux::frame(83, 4, opt => 1, data => 'of a KeepAlive'));

# without data, with nothing but data of no length, with padding
$m->write(VMess::Mux::keeping(1, undef) . VMess::Mux::keeping(1, '')
          . VMess::Mux::keeping(1, undef, meta => "\x00" . 'x' x 100)
          . VMess::Mux::keeping(1, 'end', meta => "\x01" . 'x' x 300));
is($m->read(1, 3), 'end', 'no-ops');
$m->open(0, port => port('a'), data => '0');
$m->open(65535, port => port('b'), data => '65535');
$m->read(0, 3) . ' ' . $m->read(65535, 7);
--- stream_response: a:0 b:65535
--- error_log
client opened sub-connection 1 twice


=== TEST 5: End reaches the other side
--- servers
sink sink
src source 100000000
echo echo
banner banner hello
reset reset
--- stream_config
log_format l '$vmess_mux_id $bytes_received $upstream_bytes_sent $status;';
--- stream_server_config
access_log %%DIR%%/stream.log l;
vmess main;
proxy_pass vmess_target;
--- stream_client
my $m = mux();

# all that came before End of the client
$m->open(1, port => port('sink'));
$m->write(VMess::Mux::run(1, pattern(3_000_000)));
$m->end(1);
ok(wait_for(sub { log_line(qr/^1 /) }), 'its session ends');
is(log_line(qr/^1 /), '1 3000000 3000000 200;', 'all has arrived');

# a source without an end
$m->open(2, port => port('src'));
$m->read(2, 10);
$m->end(2);
ok(wait_for(sub { log_line(qr/^2 /) }), 'End while data comes');

$m->open(3, port => port('src'));
$m->read(3, 10);
$m->end(3, 2);
ok(wait_for(sub { log_line(qr/^3 /) }), 'End with an error');

# the target's end
$m->open(4, port => port('banner'));
is($m->read_all(4), "hello\n", 'what the target sent');
is($m->{sub}{4}{end}, 0, 'its End');

$m->open(5, port => port('reset'), data => 'x');
like($m->ended(5), qr/^[02]$/, 'a reset of the target');

# End in the same chunk as New
$m->expect(6);
$m->write(VMess::Mux::opening(6, port => port('sink'), data => 'last words')
          . VMess::Mux::ending(6));
ok(wait_for(sub { log_line(qr/^6 /) }), 'New and End');
is(log_line(qr/^6 /), '6 10 10 200;', 'with data');
$m->open(7, port => port('echo'), data => 'hello');
$m->read(7, 5);
--- stream_response: hello


=== TEST 6: targets that cannot be reached end their sub-connection alone
--- no_defaults
--- servers
echo echo
dead dead
forbidden echo
dns dns a.test=127.0.0.1 rfc.test=10.1.2.3
--- stream_config
resolver 127.0.0.1:%%dns%%;
vmess_users main:1m { alice %%ALICE%%; }
log_format l '$vmess_mux_id $vmess_status $status $vmess_host:$vmess_port;';
--- stream_server_config
access_log %%DIR%%/stream.log l;
vmess main;
vmess_deny 127.0.0.1 %%forbidden%%;
vmess_allow 127.0.0.1;
proxy_pass vmess_target;
--- stream_client
my $m = mux();
$m->open(1, port => port('echo'), data => 'hello');
is($m->read(1, 5), 'hello', 'a good one');
$m->open(2, port => port('forbidden'), data => 'x');
$m->open(3, port => port('dead'), data => 'x');
$m->open(4, host => 'nx.test', port => 80, data => 'x');
$m->open(5, host => 'rfc.test', port => 80);
$m->open(6, port => 0, data => 'x');
$m->open(7, domain => 'a..test', port => 80, data => 'x');
$m->open(8, host => '10.0.0.1', port => 80);
$m->open(9, host => 'a.test', port => port('echo'), data => 'by name');
is($m->read(9, 7), 'by name', 'a name');
my @end = map { defined $m->ended($_) ? 'End' : 'nothing' } 2 .. 8;
is("@end", 'End End End End End End End', 'each is told');
$m->keep(1, 'again');
is($m->read(1, 5), 'again', 'the good one goes on');

# data for one that is gone is answered, or nothing, but hurts nobody
$m->{sub}{2}{end} = undef;
$m->keep(2, 'late');
is($m->ended(2), 0, 'Keep after that');
$m->close;

wait_for(sub { lines() == 9 });
my $log = access_log();
$log =~ s/:\d+;/;/g;
$log;
--- stream_response_like eval
qr/\A(?=.*^2 denied 403 127\.0\.0\.1;$)(?=.*^3 ok 502 127\.0\.0\.1;$)(?=.*^4 unresolved 502 nx\.test;$)(?=.*^5 denied 403 rfc\.test;$)(?=.*^6 denied 403 127\.0\.0\.1;$)(?=.*^8 denied 403 10\.0\.0\.1;$)(?=.*^1 ok 200 127\.0\.0\.1;$)/ms
--- error_log
client sent invalid target of sub-connection 7: invalid domain "a..test"
is forbidden
could not be resolved (3: Host not found)
Connection refused


=== TEST 7: what is no frame closes the connection
--- servers
echo echo
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my $p = port('echo');
my @bad = (
    [ 'metadata of 3 bytes', pack('n', 3) . 'xxx' ],
    [ 'metadata of 0 bytes', pack('n', 0) ],
    [ 'metadata of 513 bytes', pack('n n C C', 513, 1, 2, 0) ],
    [ 'status 0', VMess::Mux::frame(1, 0) ],
    [ 'status 5', VMess::Mux::frame(1, 5) ],
    [ 'network 0', VMess::Mux::opening(2, net => 0, port => $p) ],
    [ 'network 3', VMess::Mux::opening(2, net => 3, port => $p) ],
    [ 'address type 4', VMess::Mux::opening(2, address => pack('n C a16', $p, 4, '')) ],
    [ 'no target', VMess::Mux::frame(2, 1) ],
    [ 'no address', VMess::Mux::frame(2, 1, meta => pack('C n C', 1, $p, 1)) ],
    [ 'a name with a new line', VMess::Mux::opening(2, domain => "a\nb", port => $p) ],
    [ 'a name with a zero', VMess::Mux::opening(2, domain => "a\0b", port => $p) ],
    [ 'a name longer than the metadata',
      VMess::Mux::opening(2, address => pack('n C C a3', $p, 2, 200, 'abc')) ],
);
my $n = 0;
for (@bad) {
    my ($name, $frame) = @$_;
    my $m = mux(data => VMess::Mux::opening(1, port => $p, data => 'hello'));
    $m->expect(1);
    is($m->read(1, 5), 'hello', "$name: before");
    $m->{flow}->send($frame);
    is($m->closed, 1, 'closed');
    ok(wait_log(qr/client sent invalid Mux.Cool frame: /, ++$n), 'the log');
}
my @why = error_log() =~ /client sent invalid Mux.Cool frame: ([^,]*)/g;
is(scalar @why, scalar @bad, 'one line for each');
join ', ', map { "\"$_\"" } grep { !/^[a-z]/ } @why;
--- stream_response:
--- error_log
invalid Mux.Cool frame: invalid length of metadata
invalid Mux.Cool frame: unknown status
invalid Mux.Cool frame: unknown network


=== TEST 8: vmess_mux_streams
--- servers
echo echo
--- stream_server_config
vmess main;
vmess_mux_streams 2;
proxy_pass vmess_target;
--- stream_client
my $m = mux();
$m->open($_, port => port('echo'), data => "flow $_") for 1 .. 3;
is($m->read(1, 6), 'flow 1', 'the first');
is($m->read(2, 6), 'flow 2', 'the second');
is($m->ended(3), 2, 'the third is refused');

# many: each is answered
$m->expect(4 .. 500);
$m->write(join '', map { VMess::Mux::opening($_, port => port('echo'), data => 'x') }
                       4 .. 500);
is(scalar(grep { $m->ended($_) == 2 } 4 .. 500), 497, 'and all after it');

# there is room when one has gone
$m->end(1);
my $id = 501;
ok(wait_for(sub { $m->open(++$id, port => port('echo'), data => 'again');
                  $m->read($id, 5) eq 'again' }), 'after an End');
$m->keep(2, 'still');
is($m->read(2, 5), 'still', 'the second');

# of each connection
my $other = mux();
$other->open(1, port => port('echo'), data => 'other');
$other->read(1, 5);
--- stream_response: other
--- error_log
client opened more than 2 sub-connections


=== TEST 9: a slow target holds nobody up until its buffer is full
--- servers
slow sink
echo echo
--- stream_config
map $vmess_port $rate { %%slow%% 20k; default 0; }
--- stream_server_config
vmess main;
proxy_upload_rate $rate;
proxy_pass vmess_target;
--- stream_client
my $m = mux();
$m->open(1, port => port('slow'));
$m->open(2, port => port('echo'), data => 'hello');
is($m->read(2, 5), 'hello', 'a sibling');

$m->write(VMess::Mux::run(1, pattern(60_000)));
$m->keep(2, 'within');
is($m->read(2, 6), 'within', 'the buffer takes it');
is(error_log() =~ /Timed out|timed out/, '', 'no time-out');

# more than that waits, and what is behind it; then it goes on
$m->write(VMess::Mux::run(1, pattern(120_000)));
$m->keep(2, 'behind');
is($m->read(2, 6), 'behind', 'after a while');
$m->end(1);
$m->keep(2, 'last');
$m->read(2, 4);
--- stream_response: last


=== TEST 10: a target that does not read stops the client, its end frees all
--- servers
deaf deaf
echo echo
--- stream_config
log_format l '$vmess_mux_id $bytes_received;';
--- stream_server_config
access_log %%DIR%%/stream.log l;
vmess main;
proxy_pass vmess_target;
--- stream_client
my $m = mux(sec => 'none', opt => 'S');
$m->open(1, port => port('echo'), data => 'hello');
is($m->read(1, 5), 'hello', 'a sibling');
$m->open(2, port => port('deaf'));
my $before = rss();
$m->{late} = 1;

# sockets hold some megabytes on the way
my $bytes = VMess::Mux::run(2, pattern(60_000_000), 60_000)
            . VMess::Mux::keeping(1, 'behind');
my $wire = $m->{flow}->chunk($bytes);
my $n = stuff($m->{flow}, $wire);
cmp_ok($n, '<', 40_000_000, "the client is stopped after $n bytes");
grown_less($before, 2000);
is(IO::Select->new($m->{flow}{sock})->can_read(0) // 0, 0, 'nothing for the sibling');

my $other = mux(data => VMess::Mux::opening(1, port => port('echo'), data => 'other'));
is($other->expect(1)->read(1, 5), 'other', 'another connection');

# the rest is for nobody, and the sibling goes on
stop_server('deaf');
$m->{flow}->_pump(substr($wire, $n), sub { $m->_parse; 1 });
is($m->read(1, 6), 'behind', 'the sibling goes on');
like($m->ended(2), qr/^[02]$/, 'End');
--- stream_response: 1


=== TEST 11: a client that does not read stops the targets
--- listen: sndbuf=32k
--- servers
src source 200000000
echo echo
--- stream_config
log_format l '$vmess_mux_id $upstream_bytes_received;';
--- stream_server_config
access_log %%DIR%%/stream.log l;
vmess main;
proxy_pass vmess_target;
--- stream_client
my $s = tcp();
setsockopt($s, Socket::SOL_SOCKET, Socket::SO_RCVBUF, 20_000);
my $m = mux(via => $s);
$m->open($_, port => port('src')) for 1 .. 5;
$m->read($_, 10) for 1 .. 5;
my $before = rss();

# what is on its way does not grow any more
my ($last, $same) = (-1, 0);
wait_for(sub {
    select undef, undef, undef, 0.05;
    my $b = pack 'L', 0;
    ioctl $s, 0x541b, $b;
    my $n = unpack 'L', $b;
    $same = $n == $last ? $same + 1 : 0;
    $last = $n;
    $same > 20;
});
cmp_ok($last, '<', 1_000_000, 'the socket is full');
grown_less($before, 2000);

my $other = mux(data => VMess::Mux::opening(1, port => port('echo'), data => 'other'));
is($other->expect(1)->read(1, 5), 'other', 'another connection');

# End goes through, and reads as well
$m->end(1);
ok(wait_for(sub { log_line(qr/^1 /) }), 'End of one');
my ($n) = log_line(qr/^1 /) =~ / (\d+);/;
my $read = length $m->{sub}{1}{in};
cmp_ok($n - $read, '<', 20_000_000, "its source was stopped after $n bytes, $read read");
my $want = length($m->{sub}{3}{in}) + 2_000_000;
is(length $m->read(3, $want), $want, 'the others go on');
$m->close;
wait_for(sub { lines() == 6 });
join ' ', sort map { /^(\d+) / ? $1 : '-' } split /\n/, access_log();
--- stream_response: - 1 2 3 4 5


=== TEST 12: what is logged
--- servers
echo echo
src source 50000
dead dead
--- stream_config
log_format l '$vmess_mux_id $connection $vmess_connection $vmess_command $vmess_network $vmess_carrier $vmess_security $vmess_user $vmess_host:$vmess_port $bytes_received $bytes_sent $upstream_bytes_sent $upstream_bytes_received $status $upstream_addr';
--- stream_server_config
access_log %%DIR%%/stream.log l;
vmess main;
proxy_pass vmess_target;
--- stream_client
my $m = mux(sec => 'chacha20-poly1305', user => 'bob');
$m->open(7, port => port('echo'), data => 'x' x 1000);
$m->read(7, 1000);
$m->end(7);
ok(wait_for(sub { lines() == 1 }), 'the first');
$m->open(8, port => port('src'));
$m->read_all(8);
ok(wait_for(sub { lines() == 2 }), 'the second');
$m->open(9, port => port('dead'), data => 'xyz');
$m->ended(9);
ok(wait_for(sub { lines() == 3 }), 'the third');
$m->{flow}->end;
is($m->closed, 1, 'the end of the carrier');
ok(wait_for(sub { lines() == 4 }), 'the carrier');

my @l = map { [ split ' ' ] } split /\n/, access_log();
my ($e, $s, $d) = map { "127.0.0.1:" . port($_) } qw(echo src dead);
my $carrier = $l[3][1];
is(join(' ', map { $_->[2] } @l), "$carrier $carrier $carrier $carrier",
   '$vmess_connection');
is(scalar(keys %{ { map { $_->[1] => 1 } @l } }), 4, '$connection of each its own');
my @rest = map { join ' ', @$_[0, 3 .. $#$_] } @l;
is($rest[0], "7 mux tcp tcp chacha20-poly1305 bob $e 1000 1000 1000 1000 200 $e", 'echo');
is($rest[1], "8 mux tcp tcp chacha20-poly1305 bob $s 0 50000 0 50000 200 $s", 'source');
like($rest[2], qr/^9 mux tcp tcp chacha20-poly1305 bob $d \d+ 0 \S+ \S+ 502 $d$/, 'dead');
like($rest[3], qr/^- mux - tcp chacha20-poly1305 bob \S+ \d+ \d+ \S+ \S+ 200 -$/, 'carrier');

# what the user used is on the wire of the carrier, which is no flow
my ($up, $down, $flows, $total) = error_log()
    =~ /.*vmess user "bob": up:(\d+) down:(\d+) flows:(\d+) total:(\d+) refused:0/s;
cmp_ok($up, '>=', 1003, 'up');
cmp_ok($up, '<', 1200, 'no more than frames');
cmp_ok($down, '>=', 51000, 'down');
cmp_ok($down, '<', 51200, 'no more than frames');
"$flows $total";
--- stream_response: 0 3


=== TEST 13: upstreams by map, options of a server
--- servers
one tag one
two tag two
echo echo
--- stream_config
map $vmess_host $route {
    a.test  127.0.0.1:%%one%%;
    b.test  127.0.0.1:%%two%%;
    default vmess_target;
}
--- stream_server_config
vmess main;
vmess_resolve off;
proxy_pass $route;
--- stream_client
my $m = mux();
$m->open(1, host => 'a.test', port => 80, data => 'x');
$m->open(2, host => 'b.test', port => 80, data => 'y');
$m->open(3, port => port('echo'), data => 'zzzzz');
$m->open(4, host => 'c.test', port => 80, data => 'w');
is(defined $m->ended(4), 1, 'no upstream');
join ' ', map { $m->read($_, 5) } 1 .. 3;
--- stream_response: one:x two:y zzzzz


=== TEST 14: limit_conn counts each
--- servers
echo echo
--- stream_config
limit_conn_zone $binary_remote_addr zone=a:1m;
log_format l '$vmess_mux_id $status $limit_conn_status;';
--- stream_server_config
access_log %%DIR%%/stream.log l;
limit_conn a 3;
vmess main;
proxy_pass vmess_target;
--- stream_client
my $m = mux();
$m->open($_, port => port('echo'), data => "flow $_") for 1 .. 4;
is($m->read(1, 6) . $m->read(2, 6), 'flow 1flow 2', 'two and the carrier');
is(defined $m->ended($_), 1, 'refused') for 3, 4;
$m->end(1);
ok(wait_for(sub { log_line(qr/^1 /) }), 'End');
$m->open(5, port => port('echo'), data => 'again');
is($m->read(5, 5), 'again', 'one more');
wait_for(sub { log_line(qr/REJECTED/) });
--- stream_response: - 503 REJECTED;


=== TEST 15: proxy_timeout ends one
--- servers
silent silent
echo echo
--- stream_config
server {
    listen 127.0.0.1:%%PORT_2%%;
    vmess main;
    proxy_timeout 700ms;
    proxy_pass vmess_target;
}
--- stream_client
my $m = mux(via => tcp(stream_port() + 2));
$m->open(1, port => port('silent'), data => 'x');
$m->open(2, port => port('echo'));
my $n = 0;
for (1 .. 100) {
    $m->keep(2, "round $_;");
    $m->read(2, length "round $_;") eq "round $_;" or last;
    $n++;
    select undef, undef, undef, 0.05;
    last if defined $m->{sub}{1}{end};
}
is(defined $m->{sub}{1}{end}, 1, 'one has ended');
is(defined $m->{sub}{2}{end}, '', 'the other has not');
is(defined $m->ended(2), 1, 'now it has');
$m->open(3, port => port('echo'), data => 'hello');
$m->read(3, 5);
--- stream_response: hello


=== TEST 16: the client's connection dies: all upstreams are closed
--- servers
src source 100000000
silent silent
deaf deaf
--- config
location = /status { stub_status; }
location = /alive { return 200; }
--- stream_config
log_format l '$vmess_mux_id $vmess_status;';
--- stream_server_config
access_log %%DIR%%/stream.log l;
vmess main;
proxy_pass vmess_target;
--- stream_client
my $start = active();
my $n = 0;
for my $how (qw(close reset end shut bad)) {
    my $m = mux();
    $m->open($_, port => port(qw(src silent deaf)[$_ % 3]), data => 'x') for 1 .. 9;
    $m->write(VMess::Mux::run(2, pattern(200_000)));
    $m->read($_, 1000) for 3, 6, 9;
    my $f = $m->{flow};
    $f->end if $how eq 'end';
    $f->shut if $how eq 'shut';
    $f->send("\0\0") if $how eq 'bad';
    setsockopt($f->{sock}, Socket::SOL_SOCKET, Socket::SO_LINGER, pack('ii', 1, 0))
        if $how eq 'reset';
    eval { $m->closed } if $how =~ /end|shut|bad/;
    $f->close;
    $n += 10;
    is(wait_for(sub { lines() == $n }), 1, "$how: each has its line");
    is(wait_for(sub { active() == $start }), 1, 'none is left');
}
my @l = split /\n/, access_log();
scalar(grep { !/^(?:\d+|-) ok;$/ } @l);
--- stream_response: 0


=== TEST 17: 300 sub-connections aborted anywhere
--- servers
src source 3000000
echo echo
banner banner hello
reset reset
dead dead
dns dns a.test=127.0.0.1 silent.test=SILENT
--- config
location = /status { stub_status; }
location = /alive { return 200; }
--- stream_config
resolver 127.0.0.1:%%dns%%;
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my $start = active();
srand 17;
my $bad = 0;
for my $round (1 .. 10) {
    my $m = mux(sec => qw(aes-128-gcm none zero)[$round % 3]);
    my $out = '';
    my @id = 1 .. 30;
    $m->expect(@id);
    my %open;
    for my $step (1 .. 150) {
        my $id = 1 + int rand 30;
        if (!$open{$id}) {
            next if $open{$id}++;
            $out .= VMess::Mux::opening($id,
                rand() < .2 ? (host => rand() < .5 ? 'a.test' : 'silent.test') : (),
                port => port(qw(src echo banner reset dead)[rand 5]),
                rand() < .5 ? (data => pattern(1 + int rand 3000)) : ());
        } elsif (rand() < .2) {
            $out .= VMess::Mux::ending($id, rand() < .5 ? 2 : 0);
        } else {
            $out .= VMess::Mux::run($id, pattern(1 + int rand 30_000),
                                    1 + int rand 20_000);
        }
    }
    # frames of sub-connections that have ended may be answered by End, twice
    my $f = $m->{flow};
    my $cut = int rand length $out;
    eval { $f->_pump($f->chunk(substr $out, 0, $cut), sub { $f->{in} = ''; 1 }) };
    $bad++ if $@;
    setsockopt($f->{sock}, Socket::SOL_SOCKET, Socket::SO_LINGER, pack('ii', 1, 0))
        if $round % 2;
    $f->close;
}
is($bad, 0, 'no error');
is(wait_for(sub { active() == $start }), 1, 'none is left');
my $m = mux();
$m->open(1, port => port('echo'), data => 'hello');
$m->read(1, 5);
--- stream_response: hello


=== TEST 18: sub-connections go on across a reload
--- servers
echo echo
src source 20000000
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my $m = mux();
$m->open(1, port => port('echo'), data => 'hello');
is($m->read(1, 5), 'hello', 'before');
$m->open(2, port => port('src'));
my $got = $m->read(2, 100_000);
reload();
$m->keep(1, 'after');
is($m->read(1, 5), 'after', 'goes on');
$got .= $m->read_all(2);
is(sha256_hex($got), sha256_hex(pattern(20_000_000)), 'a transfer');

# the old worker serves its client until it goes
$m->open(3, port => port('echo'), data => 'newer');
is($m->read(3, 5), 'newer', 'one more in the old connection');
my $new = mux();
$new->open(1, port => port('echo'), data => 'newest');
is($new->read(1, 6), 'newest', 'a new connection');
is(workers_alive(), 2, 'the old worker is there');
$m->close;
wait_for(sub { workers_alive() == 1 });
--- stream_response: 1


=== TEST 19: quit waits for sub-connections
--- quits
--- servers
echo echo
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my $m = mux();
$m->open(1, port => port('echo'), data => 'hello');
is($m->read(1, 5), 'hello', 'before');
signal_nginx('QUIT');
ok(wait_log(qr/gracefully shutting down/), 'quit');
$m->keep(1, 'after');
is($m->read(1, 5), 'after', 'goes on');
my $pid = TestVMess::master_pid();
$m->close;
ok(wait_for(sub { !kill 0, $pid }), 'nginx leaves');
--- stream_response: 1


=== TEST 20: worker_shutdown_timeout
--- quits
--- main_config
worker_shutdown_timeout 1s;
--- servers
echo echo
src source 1000000000
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my $m = mux();
$m->open(1, port => port('echo'), data => 'hello');
is($m->read(1, 5), 'hello', 'before');
$m->open(2, port => port('src'));
$m->read(2, 1000);
my $idle = mux();
my $pid = TestVMess::master_pid();
signal_nginx('QUIT');
ok(wait_for(sub { !kill 0, $pid }), 'nginx leaves');
--- stream_response: 1


=== TEST 21: over each carrier
--- servers
echo echo
src source 400000
--- stream_config eval: $main::Stream
--- http_config eval: $main::HTTP
--- config
location = /ray { vmess_pass ray; }
location = /alive { return 200; }
--- stream_server_config
access_log %%DIR%%/stream.log l;
vmess main;
proxy_pass vmess_target;
--- stream_client
my $n = 0;
for my $name (@carriers) {
    my $m = mux(via => carrier($name),
                data => VMess::Mux::opening(1, port => port('echo'), data => 'hello'));
    is($m->expect(1)->read(1, 5), 'hello', $name);
    $m->open(2, port => port('src'));
    $m->open(3, port => port('echo'));
    $m->write(VMess::Mux::run(3, pattern(150_000)) . VMess::Mux::keeping(1, 'again'));
    is(sha256_hex($m->read_all(2)), sha256_hex(pattern(400_000)), 'down');
    is(sha256_hex($m->read(3, 150_000)), sha256_hex(pattern(150_000)), 'both ways');
    is($m->read(1, 5), 'again', 'the first');
    $m->close;
    $n += 4;
    is(wait_for(sub { lines() == $n }), 1, 'all end with it');
}
my %seen = map { $_ => 1 } split /\n/, access_log();
join ', ', map { my $c = $_; join ' ', $c, sort map { /^$c mux (\S+)/ } keys %seen } @carriers;
--- stream_response: tcp - 1 2 3, tls - 1 2 3, websocket - 1 2 3, httpupgrade - 1 2 3, grpc - 1 2 3, http - 1 2 3
--- no_error_log
[error]


=== TEST 22: vmess_commands without mux
--- servers
echo echo
--- stream_server_config
vmess main;
vmess_commands tcp udp;
proxy_pass vmess_target;
--- stream_client
my $m = mux(data => VMess::Mux::opening(1, port => port('echo'), data => 'hello'));
$m->closed;
$m->{flow}{received};
--- stream_response: 0
--- error_log
client of user "alice" requested command "mux", which is not allowed


=== TEST 23: the command TCP to v1.mux.cool is an ordinary domain
--- servers
tag tag
--- stream_config
map $vmess_host $route { v1.mux.cool 127.0.0.1:%%tag%%; }
--- stream_server_config
vmess main;
vmess_resolve off;
proxy_pass $route;
--- stream_client
flow(host => 'v1.mux.cool', port => 9527, data => 'hello')->read(6);
--- stream_response: :hello


=== TEST 24: vmess_commands for sub-connections
--- servers
echo echo
udp udp_echo
--- stream_config
log_format l '$vmess_mux_id $vmess_status $vmess_command $vmess_network;';
server {
    listen 127.0.0.1:%%PORT_2%%;
    access_log %%DIR%%/stream.log l;
    vmess main;
    vmess_commands udp mux;
    proxy_pass vmess_target;
}
--- stream_server_config
access_log %%DIR%%/stream.log l;
vmess main;
vmess_commands tcp mux;
proxy_pass vmess_target;
--- stream_client
my @got;
for my $port (stream_port(), stream_port() + 2) {
    my $m = mux(via => tcp($port));
    $m->open(1, port => port('echo'), data => 'stream');
    $m->open(2, net => 'udp', port => port('udp'), data => 'datagram');
    push @got, $m->read(1, 6) || 'refused', $m->receive(2) // 'refused';
}
for ('2 command mux udp;', '1 command mux tcp;') {
    my $want = $_;
    ok(wait_for(sub { log_line(qr/^$want$/) }), $want);
}
"@got";
--- stream_response: stream refused refused datagram
--- error_log
client of user "alice" requested command "udp", which is not allowed
client of user "alice" requested command "tcp", which is not allowed


=== TEST 25: ssl_preread and "return" of a sub-connection
--- servers
tag tag
--- stream_config
map $ssl_preread_server_name $route { default 127.0.0.1:%%tag%%; }
server {
    listen 127.0.0.1:%%PORT_2%%;
    vmess main;
    vmess_resolve off;
    return "to $vmess_host:$vmess_port in $vmess_mux_id by $protocol from $remote_addr";
}
--- stream_server_config
vmess main;
ssl_preread on;
proxy_pass $route;
--- stream_client
my $m = mux();
$m->open(1, port => 1);
$m->keep(1, 'GE');
$m->keep(1, 'T / HTTP/1.0');
is($m->read(1, 15), ':GET / HTTP/1.0', 'no TLS');
$m = mux(via => tcp(stream_port() + 2));
$m->open(7, host => 'a.test', port => 80);
$m->open(8, host => 'b.test', port => 53, net => 'udp', data => 'x');
is($m->read_all(7), 'to a.test:80 in 7 by TCP from 127.0.0.1', 'TCP');
$m->read_all(8);
--- stream_response: to b.test:53 in 8 by UDP from 127.0.0.1


=== TEST 26: without connections left a sub-connection is refused alone
--- may_alert
--- servers
echo echo
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my $other = mux(data => VMess::Mux::opening(1, port => port('echo'), data => 'hello'));
is($other->expect(1)->read(1, 5), 'hello', 'another connection');

# two for each of them, of 512
my $m = mux();
my @id = 1 .. 256;
$m->expect(@id);
$m->write(join '', map { VMess::Mux::opening($_, port => port('echo'), data => 'hello') }
                       @id);
my ($served, $ended) = (0, 0);
for (@id) {
    $m->read($_, 5) eq 'hello' ? $served++ : $ended++;
}
cmp_ok($served, '>', 200, "served: $served");
cmp_ok($ended, '>', 0, "refused: $ended");
$other->keep(1, 'still');
is($other->read(1, 5), 'still', 'goes on');
$m->close;
my $id = 1;
wait_for(sub { $other->open(++$id, port => port('echo'), data => 'again');
               $other->read($id, 5) eq 'again' });
--- stream_response: 1


=== TEST 27: who waits takes no processor time
--- listen: sndbuf=32k
--- servers
echo echo
deaf deaf
src source 200000000
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my $idle = sub {
    my ($worker) = TestVMess::children();
    my $ticks = sub {
        my @f = split ' ', TestVMess::file_text("/proc/$worker/stat");
        return $f[13] + $f[14];
    };
    my $start = $ticks->();
    select undef, undef, undef, 1;
    cmp_ok($ticks->() - $start, '<', 20, $_[0]);
};

my $m = mux();
$m->expect(1 .. 50);
$m->write(join '', map { VMess::Mux::opening($_, port => port('echo'), data => 'x') }
                       1 .. 50);
$m->read($_, 1) for 1 .. 50;
$idle->('nothing to do');

my $deaf = mux();
$deaf->open(1, port => port('deaf'));
stuff($deaf->{flow}, $deaf->{flow}->chunk(VMess::Mux::run(1, pattern(50_000_000))));
$idle->('a target that does not read');
stop_server('deaf');

# in chunks, and without
for my $sec (qw(aes-128-gcm zero)) {
    my $blind = mux(sec => $sec);
    $blind->open($_, port => port('src')) for 1 .. 5;
    $idle->("a client that does not read, $sec");

    # nor do answers pile up
    stuff($blind->{flow}, $blind->{flow}->chunk(VMess::Mux::keeping(9, 'x') x 300_000));
    $idle->('a client that is answered, and does not read');
    $blind->{late} = 1;
    $blind->expect(9);
    $blind->end($_) for 1 .. 5;
    is($blind->ended(9), 0, 'then it reads');
}
--- stream_response:


=== TEST 28: the buffer is for memory, also with small frames
--- main_config
worker_shutdown_timeout 1s;
--- servers
slow sink
--- stream_server_config
vmess main;
proxy_upload_rate 1;
proxy_pass vmess_target;
--- stream_client
my $m = mux();
$m->open($_, port => port('slow'), data => 'x') for 1 .. 8;
my $before = rss();
$m->{late} = 1;
stuff($m->{flow}, $m->{flow}->chunk(join '', map { VMess::Mux::run($_, 'x' x 60_000, 1) }
                                             1 .. 8));
grown_less($before, 4000);
--- stream_response: 1


=== TEST 29: End is the end of both directions with proxy_half_close, too
--- servers
src source 1000000000
echo echo
--- stream_config
log_format l '$vmess_mux_id $upstream_bytes_received;';
--- stream_server_config
access_log %%DIR%%/stream.log l;
vmess main;
proxy_half_close on;
proxy_pass vmess_target;
--- stream_client
my $m = mux();
$m->open(1, port => port('src'));
$m->read(1, 1000);
$m->end(1);
$m->open(2, port => port('echo'), data => 'hello');
is($m->read(2, 5), 'hello', 'another');
ok(wait_for(sub { log_line(qr/^1 /) }), 'its session ends');
my ($n) = log_line(qr/^1 /) =~ / (\d+);/;
$n < 100_000_000 || $n;
--- stream_response: 1


=== TEST 30: what TLS has begun to send is not replaced
--- servers
src source 10000000
--- stream_config
server {
    listen 127.0.0.1:%%PORT_2%% ssl sndbuf=32k;
    ssl_certificate %%CERT%%;
    ssl_certificate_key %%KEY%%;
    vmess main;
    proxy_pass vmess_target;
}
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
for my $sec (qw(aes-128-gcm none zero)) {
    my $m = mux(via => tls(port => stream_port() + 2), sec => $sec);
    $m->open(1, port => port('src'));
    $m->{late} = 1;
    idle();

    # End frames go first
    $m->expect(8, 9);
    $m->{flow}->send(VMess::Mux::keeping(8, 'x'));
    $m->{flow}->send(VMess::Mux::keeping(9, 'x'));
    idle();
    is(sha256_hex($m->read_all(1)), sha256_hex(pattern(10_000_000)), $sec);
    is($m->ended($_), 0, 'End') for 8, 9;
}
--- no_error_log
[error]
[crit]


=== TEST 31: the bound of vmess_mux_buffer is exact
--- servers
echo echo
dns dns a.test=127.0.0.1
--- stream_config
resolver 127.0.0.1:%%dns%%;
resolver_timeout 100s;
--- stream_server_config
vmess main;
vmess_mux_buffer 16k;
proxy_pass vmess_target;
--- stream_client
pause_server('dns');
my $m = mux();
$m->open(1, port => port('echo'), data => 'a');
is($m->read(1, 1), 'a', 'a sibling');
$m->open(2, host => 'a.test', port => port('echo'));

# a frame of 88 bytes takes 128
my $sent = '';
for (1 .. 128) {
    $sent .= my $data = numbered($_, 88);
    $m->keep(2, $data);
}
$m->keep(1, 'b');
is($m->read(1, 1), 'b', 'full, and no more');

$m->keep(2, 'x');
$m->keep(1, 'c');

# time for an answer, if there was one
for (1 .. 5) {
    my $other = flow(to => 'echo', data => 'x');
    is($other->read(1), 'x', 'another connection');
    $other->close;
}
is(IO::Select->new($m->{flow}{sock})->can_read(0) // 0, 0, 'a byte more holds all up');

resume_server('dns');
is($m->read(2, length $sent) eq $sent, 1, 'nothing is lost');
is($m->read(2, 1), 'x', 'nor behind it');
$m->read(1, 1);
--- stream_response: c
--- no_error_log
[error]


=== TEST 32: a connection without sub-connections is closed after 60 seconds
--- log_level: debug
--- servers
echo echo
--- stream_server_config
vmess main;
vmess_handshake_timeout 50s;
proxy_connect_timeout 40s;
proxy_pass vmess_target;
--- stream_client
my $timers = sub { log_count(qr/event timer add: \d+: 60000:/) };
my $m = mux();
ok(wait_for(sub { $timers->() == 1 }), 'none is opened');
$m->open($_, port => port('echo'), data => 'x') for 1, 2;
$m->read($_, 1) for 1, 2;
is(log_count(qr/event timer del: \d+: \d+/) > 0 && $timers->(), 1, 'two');
$m->end(1);
$m->keep(2, 'y');
$m->read(2, 1);
is($timers->(), 1, 'one');
$m->end(2);
ok(wait_for(sub { $timers->() == 2 }), 'none');
$timers->();
--- stream_response: 2


=== TEST 33: the lines of a user add up, by the format and the awk of the docs
--- servers
echo echo
src source 50000
udp udp_echo
slow source 100000000
--- stream_config eval: main::doc(qr/^```nginx\n(log_format vmess .*?;)\n```/ms)
--- stream_server_config
access_log %%DIR%%/stream.log vmess;
vmess main;
proxy_pass vmess_target;
--- stream_client
my $n = 0;
my $logged = sub { $n += shift; ok(wait_for(sub { lines() == $n }), "$n lines") };

for my $user (qw(alice bob)) {
    my $f = flow(user => $user, to => 'echo', data => 'a flow');
    is($f->read(6), 'a flow', "$user, a flow");
    $f->close;
    $f = flow(user => $user, cmd => 'udp', to => 'udp', data => 'a datagram');
    is($f->receive, 'a datagram', 'and a datagram');
    $f->close;
    $logged->(2);

    my $m = mux(user => $user);
    $m->open(1, port => port('echo'), data => 'x' x 1000);
    is(length $m->read(1, 1000), 1000, 'a sub-connection');
    $m->open(2, port => port('src'));
    is(length $m->read_all(2), 50_000, 'another');
    $m->open(0, net => 'udp', port => port('udp'), data => 'one');
    $m->receive(0);
    $m->keep(0, $_, to => [ '127.0.0.1', port('udp') ]) for qw(two three);
    is(join(' ', map { scalar $m->receive(0) } 1 .. 2), 'two three', 'XUDP');
    $m->open(3, net => 'udp', port => port('udp'), data => 'four');
    is(scalar $m->receive(3), 'four', 'UDP');

    # data after the client's End is discarded, and in no line
    $m->open(4, port => port('slow'));
    $m->read(4, 100);
    $m->{late} = 1;
    $m->end($_) for 0, 1, 3, 4;
    $logged->(5);
    $m->close;
    $logged->(1);
}

my $counted = join '', map {
    my ($up, $down) = error_log() =~ /.*vmess user "$_": up:(\d+) down:(\d+) /s;
    "$_ $up $down\n";
} qw(alice bob);
open my $fh, '>', "$Dir/sum.sh" or die $!;
(my $awk = doc(qr/^```sh\n(awk .*?)\n```/ms)) =~ s/flows\.log/stream.log/;
print $fh "cd $Dir\n$awk\n";
close $fh;
my $sum = join '', sort `sh $Dir/sum.sh`;
is($sum, $counted, 'the sum of lines is what was counted');
scalar(() = access_log() =~ / - - -:0 /g);
--- stream_response: 2
