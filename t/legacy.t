# The original header: users with "alter_id", what it carries, and what is left
# of its weaknesses.  VMESS_MUTATIONS=10000 makes more of the replays, and shows
# how long the answers took.

use lib "t/lib";
use TestVMess;
use VMess::GRPC;
use VMess::HTTP2;
use VMess::Mux;
use List::Util ();
use Time::HiRes ();

plan "no_plan";
no_shuffle();

our $tries = $ENV{VMESS_MUTATIONS} || 500;


# a probe is answered by the site behind "tag site": all of its bytes, and the
# end; then it is no client

sub to_site {
    my ($bytes, $s) = @_;
    $s //= tcp();
    put($s, $bytes);
    my $got = read_n($s, 5 + length $bytes);
    shutdown $s, 1;
    my $n = sysread($s, my $b, 1);
    return $got eq "site:$bytes" && defined $n && $n == 0 ? 1 : 0;
}


# was it accepted (by an echo server), or not (by the site)?

sub accepted {
    my (%o) = @_;
    my $via = delete $o{via} // tcp();
    my $v = vmess(to => 'echo', %o);
    my $wire = $v->header . $v->chunk('hello');
    put($via, $wire);
    my $got = read_n($via, 4);
    return 0 if $got eq 'site';
    $v->connect($via, quiet => 1);
    $v->feed($got);
    return $v->read(5) eq 'hello' ? 1 : 'broken';
}


# how many bytes the server takes from those it does not know, as described,
# without up to 63 at random

sub drain {
    my $d = pack 'a16', 'VMess drain';
    $d = substr(Digest::SHA::sha256($d . VMess::cmd_key(VMess::uuid($_))), 0, 16)
        for @_;
    my $n = 54 + unpack('n', $d) % 3266;
    return $n < 332 ? $n + 332 : $n;
}


# Probes of a server without a fallback: each stays open, and quiet, until one
# byte before the limit, and is closed at the most beyond it, not reset.  What
# was otherwise is returned.

sub drained {
    my ($limit, @probes) = @_;
    my @bad;

    while (my @now = splice @probes, 0, 50) {
        my @s = map { tcp() } @now;
        my $all = sub {
            my ($n) = @_;
            for my $i (0 .. $#now) {
                my $p = substr($now[$i] . 'x' x 4000, 0, $limit + 63);
                put($s[$i], $n ? substr($p, 0, $n) : substr($p, $limit - 1));
            }
        };

        $all->($limit - 1);

        # when this one is answered, all before it were seen

        push @bad, 'the flow' unless accepted(uuid => $User{bob});
        push @bad, map { IO::Select->new($_)->can_read(0) ? 'early' : () } @s;

        $all->(0);
        push @bad, map { my $n = sysread($_, my $b, 1);
                         !defined $n ? "$!" : $n ? 'an answer' : () } @s;
    }

    return join ' ', @bad;
}


# more workers than one

sub workers_now {
    my ($n) = @_;
    edit_conf(sub { s/^worker_processes\s+\K1;/$n;/m });
    reload();
    return wait_for(sub { workers_alive() == $n });
}


# headers that nobody sent before: their tokens are not used up

our %used;

sub fresh {
    for (1 .. 1000) {
        my %o = (alter => 1 + int rand 256, time => time + int(rand 200) - 100);
        return vmess(port => 9, user => 'carol', %o, @_)
            if !$used{$o{alter}, int $o{time}}++;
    }
    die 'no fresh token';
}

$User{carol} = '11111111-2222-3333-4444-555555555555';
$User{dave} = '22222222-3333-4444-5555-666666666666';


# a header and some bytes of a body with one bit, nibble or byte changed from
# an offset on

sub mutated {
    my ($wire, $from, $i) = @_;
    my $at = $from + int rand(length($wire) - $from);
    my $x = $i % 3 == 0 ? 1 << int rand 8
          : $i % 3 == 1 ? (1 + int rand 15) << 4 * int rand 2 : 1 + int rand 255;
    substr($wire, $at, 1) ^= chr $x;
    return $wire;
}

run_tests();

__DATA__

=== TEST 1: securities and options, by TCP, TLS and carriers of http
--- servers
echo echo
--- stream_config
vmess_users main:4m { alice %%ALICE%% alter_id=16; bob %%BOB%%; }
vmess_ciphers aes-128-gcm chacha20-poly1305 aes-128-cfb none zero;
log_format l '$vmess_user $vmess_carrier $vmess_security $vmess_status';
access_log %%DIR%%/stream.log l;
server {
    listen 127.0.0.1:%%PORT_2%% ssl;
    ssl_certificate %%CERT%%;
    ssl_certificate_key %%KEY%%;
    vmess main;
    proxy_pass vmess_target;
}
server { vmess_listen ray; vmess main; proxy_pass vmess_target; }
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- http_config
server {
    listen 127.0.0.1:%%PORT_3%% http2;
    location = /svc/Tun { vmess_pass ray; }
}
--- config
location = /ray { vmess_pass ray; }
--- stream_client
my %via = (
    tcp => sub { tcp() },
    tls => sub { tls(port => stream_port() + 2) },
    websocket => sub { ws() },
    grpc => sub {
        VMess::HTTP2->new(tcp(stream_port() + 3))->request('POST', '/svc/Tun',
            headers => ['content-type' => 'application/grpc', te => 'trailers'],
            codec => VMess::GRPC->new);
    },
);
my ($n, @bad) = (0);
for my $carrier (sort keys %via) {
    for my $sec (qw(aes-128-cfb aes-128-gcm chacha20-poly1305 none)) {
        for my $opt ('', qw(S M SM MP SMP R A SA MA SMA MPA SMPA)) {
            my $what = "$carrier $sec $opt";
            my $data = pattern(20_000 + ++$n);
            my $v = eval {
                flow(via => $via{$carrier}->(), to => 'echo', sec => $sec,
                     opt => $opt, alter => 1 + $n % 16, pad => $n % 16) };
            my $got = eval { $v->exchange($data, length $data) };
            push @bad, "$what: $@" if $@ || $got ne $data;
            eval { $v->end; $v->read_eof if $v->{opt} & 1 };
            push @bad, "$what, end: $@" if $@;
        }
    }
}
is(join("\n", @bad), '', "all of $n");
wait_for(sub { (() = access_log() =~ /\n/g) >= $n });
is(scalar(() = access_log() =~ / ok$/mg), $n,
   'all were logged as good');
unlike(access_log(), qr/ (?!ok$)\S+$/m, 'and nothing else');
--- no_error_log
client sent


=== TEST 2: datagrams and sub-connections
--- servers
echo echo
dgram udp_echo
--- stream_config
vmess_users main:4m { alice %%ALICE%% alter_id=16; bob %%BOB%%; }
vmess_ciphers aes-128-gcm chacha20-poly1305 aes-128-cfb none;
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my @bad;
for my $sec (qw(aes-128-cfb aes-128-gcm chacha20-poly1305 none)) {
    for my $opt (qw(S SM SMP)) {
        my $v = flow(cmd => 'udp', to => 'dgram', sec => $sec, opt => $opt,
                     alter => 3, data => ['one']);
        push @bad, "udp $sec $opt" if $v->receive ne 'one';
        for my $size (1, 1400, 8000) {
            $v->send(numbered($size, $size));
            push @bad, "udp $sec $opt $size"
                if $v->receive ne numbered($size, $size);
        }

        my $m = VMess::Mux->new(flow(cmd => 'mux', sec => $sec, opt => $opt,
                                     alter => 16));
        $m->open($_, port => port('echo'), data => "hello $_") for 1 .. 5;
        push @bad, map { $m->read($_, 7) eq "hello $_" ? ()
                         : "mux $sec $opt $_" } 1 .. 5;
    }
}
is(join(', ', @bad), '', 'all went well');
my $v = flow(cmd => 'udp', to => 'dgram', sec => 'aes-128-cfb', opt => '',
             alter => 1);
is($v->read_eof, '', 'no borders between datagrams, no datagrams');
--- error_log
UDP without chunk framing


=== TEST 3: alter ids, the first and the last, and no others
--- servers
echo echo
site tag site
--- stream_config
vmess_users main:4m {
    alice %%ALICE%% alter_id=16;
    bob   %%BOB%%;
    carol %%CAROL%% alter_id=256;
    dave  %%DAVE%% alter_id=1;
}
--- stream_server_config
vmess main;
vmess_fallback 127.0.0.1:%%site%%;
proxy_pass vmess_target;
--- stream_client
my %max = (alice => 16, bob => 0, carol => 256, dave => 1);
for my $user (sort keys %max) {
    my $max = $max{$user};
    is(accepted(user => $user), 1, "$user, AEAD");
    is(accepted(user => $user, alter => 0), 0, 'the id itself is none');
    is(accepted(user => $user, alter => 1), $max ? 1 : 0, 'the first');
    is(accepted(user => $user, alter => $max), 1, 'the last') if $max;
    is(accepted(user => $user, alter => $max + 1), 0, 'none after it');
}
--- error_log
no VMess header of a known user


=== TEST 4: the borders of the window
--- servers
echo echo
site tag site
--- stream_config
vmess_users main:4m { alice %%ALICE%% alter_id=1; bob %%BOB%%; }
--- stream_server_config
vmess main;
vmess_fallback 127.0.0.1:%%site%%;
proxy_pass vmess_target;
--- stream_client
# both clocks have to show the same second, before and after
my $at = sub {
    my ($skew) = @_;
    for (1 .. 50) {
        my $t = int time;
        my $r = accepted(alter => 1, time => $t + $skew);
        return $r if int(time) == $t;
    }
    return 'no second was long enough';
};
is($at->($_), 1, "$_ s") for 0, -120, 120;
is($at->($_), 0, "$_ s") for -121, 121, -3600, 3600;
is(accepted(alter => 1, time => $_), 0, "at $_") for 0, -1, 2 ** 62;
--- error_log
no VMess header of a known user


=== TEST 5: sessions of one second share a token, a replay ends it
--- servers
echo echo
site tag site
--- stream_config
vmess_users main:4m { alice %%ALICE%% alter_id=16; bob %%BOB%%; }
--- stream_server_config
vmess main;
vmess_fallback 127.0.0.1:%%site%%;
proxy_pass vmess_target;
--- stream_client
my $t = int time;
my $v = vmess(to => 'echo', alter => 5, time => $t);
my $wire = $v->header . $v->chunk('hello');
$v->connect(tcp(), quiet => 1)->send_raw($wire);
is($v->read(5), 'hello', 'a session');
is(accepted(alter => 5, time => $t), 1, "another, $_") for 1 .. 5;

is(to_site($wire), 1, 'a replay is not answered');
is(accepted(alter => 5, time => $t), 0, 'and the token is gone');
is(accepted(alter => 5, time => $t + 1), 1, 'that of another second is there');
is(accepted(alter => 6, time => $t), 1, 'that of another id, too');
$v->send('more');
is($v->read(4), 'more', 'the session goes on');

is(accepted(alter => 7, time => $t, key => $v->{key}, iv => $v->{iv}), 0,
   'the same session by another token is a replay');
is(accepted(alter => 7, time => $t), 0, 'which ends that');
--- error_log
client sent replayed VMess header of user "alice"


=== TEST 6: other workers, other addresses, and after reloads
--- servers
echo echo
site tag site
--- listen: reuseport
--- stream_config
vmess_users main:4m { alice %%ALICE%% alter_id=16; bob %%BOB%%; }
--- stream_server_config
vmess main;
vmess_fallback 127.0.0.1:%%site%%;
proxy_pass vmess_target;
--- stream_client
workers_now(4);
my $from = sub {
    IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => stream_port(),
                          LocalAddr => $_[0]) };
my $t = int(time) + 60;
my @wire;
for my $alter (1 .. 10) {
    my $v = vmess(to => 'echo', alter => $alter, time => $t);
    push @wire, $v->header . $v->chunk('hello');
    $v->connect(tcp(), quiet => 1)->send_raw($wire[-1]);
    is($v->read(5), 'hello', "a session of id $alter");
}
my $all = sub {
    my ($what) = @_;
    my $n = 0;
    for my $wire (@wire) {
        $n += to_site($wire, $from->('127.0.0.' . int 1 + rand 9)) for 1 .. 5;
    }
    is($n, 50, "replays $what");
    $n = grep { accepted(alter => $_, time => $t) } 1 .. 10;
    is($n, 0, 'no token is good');
};
$all->('at once');
my %pid = map { $_ => 1 }
              error_log() =~ /(\d+)#\d+: \*\d+ client sent replayed/g;
cmp_ok(scalar(keys %pid), '>', 1, 'seen by several workers');
reload();
$all->('after a reload');
reload();
$all->('after another');
edit_conf(sub { s/main:4m/main:6m/ });
reload();
$all->('with another size');
is(accepted(alter => 11, time => $t), 1, 'another token is good');
--- error_log
client sent replayed VMess header of user "alice"


=== TEST 7: a header in pieces
--- servers
echo echo
site tag site
--- stream_config
vmess_users main:4m { alice %%ALICE%% alter_id=16; bob %%BOB%%; }
server { listen 127.0.0.1:%%PORT_2%%; vmess main; proxy_pass vmess_target; }
server { vmess_listen ray; vmess main; proxy_pass vmess_target; }
--- stream_server_config
vmess main;
vmess_fallback 127.0.0.1:%%site%%;
proxy_pass vmess_target;
--- config
location = /ray { vmess_pass ray; }
--- stream_client
# with a fallback it must be whole as soon as its token is
for my $n (16, 17, 40, 60) {
    my $v = vmess(to => 'echo', alter => 1, skew => $n);
    is(to_site(substr($v->header, 0, $n)), 1, "the first $n bytes");
    is(to_site($v->header), 1, 'and then the token is gone');
}
my $v = vmess(to => 'echo', alter => 2);
my $s = tcp();
put($s, substr($v->header, 0, 15));
wait_log(qr/connected to/, 9) or die 'not connected';
$v->connect($s, quiet => 1);
$v->send_raw(substr($v->header, 15) . $v->chunk('hello'));
is($v->read(5), 'hello', 'the token in pieces');

# without one it may take its time
$v = vmess(to => 'echo', alter => 3, pad => 15);
$s = tcp(stream_port() + 2);
setsockopt($s, Socket::IPPROTO_TCP, Socket::TCP_NODELAY, 1);
for (split //, $v->header) {
    put($s, $_);
    select undef, undef, undef, 0.001;
}
$v->connect($s, quiet => 1);
$v->send('hello');
is($v->read(5), 'hello', 'all of it in bytes');

# and with http there is the site
my $n = log_count(qr/not whole/);
$s = ws();
put($s, substr(vmess(port => 9, alter => 4)->header, 0, 30));
is(wait_log(qr/not whole/, $n + 1), 1, 'over WebSocket');
--- error_log
client sent invalid VMess header of user "alice": not whole


=== TEST 8: every length of random bytes, and of a captured session
--- servers
echo echo
site tag site
--- stream_config
vmess_users main:8m { alice %%ALICE%% alter_id=16; bob %%BOB%%;
                      carol %%CAROL%% alter_id=256; }
--- stream_server_config
vmess main;
vmess_fallback 127.0.0.1:%%site%%;
proxy_pass vmess_target;
--- stream_client
my @n = (16 .. 130, map { 130 + 17 * $_ } 1 .. 110);
my $v = vmess(to => 'echo', alter => 1);
my $wire = $v->header . $v->chunk(pattern(2000));
$v->connect(tcp(), quiet => 1)->send_raw($wire);
is($v->read(2000), pattern(2000), 'a session');
my @bad;
for my $n (@n) {
    push @bad, "random, $n" unless to_site(Crypt::PRNG::random_bytes($n));
    push @bad, "captured, $n" unless to_site(substr($wire, 0, $n));
}
# of those with more bytes than a header has, the last was its own
for my $n (grep { $_ < 60 } @n) {
    push @bad, "fresh, $n" unless to_site(substr(fresh()->header, 0, $n));
}
join ', ', @bad;
--- stream_response:


=== TEST 9: mutated replays of a session, with a fallback
--- servers
echo echo
site tag site
--- stream_config
vmess_users main:8m { alice %%ALICE%% alter_id=16; bob %%BOB%%;
                      carol %%CAROL%% alter_id=256; }
server {
    listen 127.0.0.1:%%PORT_2%%;
    vmess main;
    vmess_fallback 127.0.0.1:%%PORT_3%%;
    proxy_pass vmess_target;
}
--- stream_server_config
vmess main;
vmess_fallback 127.0.0.1:%%site%%;
proxy_pass vmess_target;
--- http_config
server { listen 127.0.0.1:%%PORT_3%%; }
--- stream_client
alarm((60 + $tries / 5) * $Scale);

my $v = vmess(to => 'echo', user => 'carol', alter => 1);
my $captured = $v->header . $v->chunk('x' x 200);
$v->connect(tcp(), quiet => 1)->send_raw($captured);
is($v->read(200), 'x' x 200, 'a session');

# the site at the second port is nginx itself: what it says to bytes that are no
# request.  A first byte of 0x80 and more is nothing of which it would wait for
# the rest
my $no_method = sub { substr($_[0], 0, 1) |= "\x80"; $_[0] };
my %kind = (
    'random bytes' => sub {
        $no_method->(Crypt::PRNG::random_bytes(80 + rand 600)) },
    'the same token' => sub { mutated($captured, 16, $_[0]) },
    'the same bytes' => sub { $captured },
    'another token' => sub {
        $no_method->(substr(mutated($captured, 0, 0), 0, 16) ^ chr(1) x 16)
        . substr($captured, 16) },
    'a fresh token' => sub {
        my $w = fresh(pad => $_[0] % 16);
        my $wire = $w->header;
        mutated($wire, 16, $_[0]) . $w->chunk('x' x int rand 600) },
);

my $talk = sub {
    my ($bytes, $port) = @_;
    my $s = tcp($port);
    my $start = Time::HiRes::time;
    put($s, $bytes);
    my ($n, $first, $got) = (0, undef, '');
    while ($n = sysread($s, my $b, 4096)) {
        $first //= Time::HiRes::time - $start;
        $got .= $b;
    }
    $got =~ s/^Date: .*$/Date: now/m;
    return ($got . (defined $n ? 'end' : "$!"), $first // 0);
};

my ($want) = $talk->($no_method->('x' x 100), stream_port() + 3);
like($want, qr/^HTTP\/1.1 400 .*end$/s, 'what the site says');

my (%bad, %times);
for my $i (1 .. $tries) {
    my %bytes = map { $_ => $kind{$_}->($i) } keys %kind;
    for my $kind (List::Util::shuffle(keys %kind)) {
        my $bytes = $bytes{$kind};
        if (ord($bytes) < 0x80) {                # it may wait
            $bad{$kind} .= " not whole\n" unless to_site($bytes);
            next;
        }
        my ($got, $time) = $talk->($bytes, stream_port() + 2);
        $bad{$kind} .= "$got\n" if $got ne $want;
        push @{ $times{$kind} }, $time;
    }
}
is($bad{$_} // '', '', $_) for sort keys %kind;

if ($ENV{VMESS_MUTATIONS}) {
    for my $kind (sort keys %times) {
        my @t = sort { $a <=> $b } @{ $times{$kind} };
        Test::More::diag(sprintf "%-14s %6d answers, ms: %s", $kind, scalar @t,
            join '  ', map { sprintf '%d%% %.3f', $_, 1000 * $t[$#t * $_ / 100] }
                           5, 25, 50, 75, 95, 99);
    }
}
--- timeout: 60


=== TEST 10: mutated replays of a session, without a fallback
--- servers
echo echo
--- stream_config
vmess_handshakes worker=200 address=200;
vmess_users main:8m { alice %%ALICE%% alter_id=16; bob %%BOB%%;
                      carol %%CAROL%% alter_id=256; }
--- stream_server_config
vmess main;
vmess_handshake_timeout 1h;
proxy_pass vmess_target;
--- stream_client
alarm((60 + $tries / 5) * $Scale);

my $limit = drain(@User{qw(alice bob carol)});
my $v = vmess(to => 'echo', user => 'carol', alter => 1);
my $captured = $v->header . $v->chunk('x' x 200);
$v->connect(tcp(), quiet => 1)->send_raw($captured);
is($v->read(200), 'x' x 200, 'a session');

my @n = 1 .. $tries;
is(drained($limit, map { Crypt::PRNG::random_bytes(60) } @n), '', 'random bytes');
is(drained($limit, map { mutated($captured, 16, $_) } @n), '', 'the same token');
is(drained($limit, map { $captured } @n), '', 'the same bytes');
is(drained($limit, map { mutated(fresh(pad => $_ % 16)->header, 16, $_) } @n),
   '', 'fresh tokens');

# the padding and the security: each of the nibbles
is(drained($limit, map { my $w = fresh(pad => 5)->header;
                         substr($w, 16 + 35, 1) ^= chr; $w } 1 .. 255),
   '', 'lengths of the padding, securities');
is(drained($limit, map { my $w = fresh(host => 'a.example')->header;
                         substr($w, 16 + $_ / 256, 1) ^= chr $_ % 256; $w }
                   map { 256 * $_ + 1, 256 * $_ + 128 } 33 .. 54),
   '', 'what is in a header, byte for byte');
--- error_log
no VMess header of a known user


=== TEST 11: probes that stop are closed when the time is over
--- servers
echo echo
--- stream_config
vmess_users main:8m { alice %%ALICE%% alter_id=16; bob %%BOB%%;
                      carol %%CAROL%% alter_id=256; }
--- stream_server_config
vmess main;
vmess_handshake_timeout 500ms;
proxy_pass vmess_target;
--- stream_client
my @p = ('', 'x' x 10, 'x' x 16, 'x' x 60,
         map { substr(fresh()->header, 0, $_) } 1, 15, 16, 50, 58);
my @s = map { my $s = tcp(); put($s, $_); $s } @p;
join ' ', map { sysread($_, my $b, 1) // "$!" } @s;
--- stream_response: 0 0 0 0 0 0 0 0 0
--- error_log
client timed out while sending VMess header


=== TEST 12: the length of a chunk changed on the way
--- servers
echo echo
site tag site
--- stream_config
vmess_users main:4m { alice %%ALICE%% alter_id=16; bob %%BOB%%; }
vmess_ciphers aes-128-gcm chacha20-poly1305 aes-128-cfb none zero;
--- stream_server_config
vmess main;
vmess_fallback 127.0.0.1:%%site%%;
proxy_pass vmess_target;
--- stream_client
# of a running session: it ends when what is as long as it says was read; with
# an authenticated length when that was read
my $n = 0;
for my $sec (qw(aes-128-cfb aes-128-gcm)) {
    for my $opt (qw(SM SMA)) {
        my $v = flow(alter => ++$n, sec => $sec, opt => $opt, to => 'echo',
                     data => 'hello');
        is($v->read(5), 'hello', "$sec $opt: a session");
        my $chunk = $v->chunk('x' x 1000);
        substr($chunk, 0, 1) ^= "\x01";             # 256 bytes more or less
        my $got = eval { $v->send_raw($chunk . 'y' x 2000); $v->read_eof };
        is($got, '', 'nothing of it is echoed');
        is(wait_log(qr/client sent invalid VMess chunk/, $n), 1, 'it was seen');

        # and sent again it is no session
        is(to_site($v->header . $chunk), 1, 'its replay');
    }
}
--- error_log
client sent invalid VMess chunk


=== TEST 13: many sessions sent again, at once
--- servers
echo echo
site tag site
--- listen: reuseport
--- stream_config
vmess_users main:8m { alice %%ALICE%% alter_id=16; bob %%BOB%%;
                      carol %%CAROL%% alter_id=256; }
--- stream_server_config
vmess main;
vmess_fallback 127.0.0.1:%%site%%;
proxy_pass vmess_target;
--- stream_client
workers_now(4);
my ($n, @wire) = (0);
for (1 .. 200) {
    my $v = fresh(to => 'echo');
    push @wire, $v->header . $v->chunk('hello');
    $v->connect(tcp(), quiet => 1)->send_raw($wire[-1]);
    $n += $v->read(5) eq 'hello';
}
is($n, 200, 'all are accepted');
$n = 0;
for my $round (1 .. 3) {
    for my $i (0 .. 3) {
        my @s = map { my $s = tcp(); put($s, $_); $s } @wire[50 * $i .. 50 * $i + 49];
        $n += grep { read_n($_, 5) eq 'site:' } @s;
    }
}
is($n, 600, 'none is accepted again');
is(accepted(user => 'alice', alter => 1), 1, 'new ones are');

# of one header, many at once: one is good
my @good;
for (1 .. 10) {
    my $v = fresh(to => 'echo');
    my $wire = $v->header . $v->chunk('hello');
    my @s = map { tcp() } 1 .. 20;
    put($_, $wire) for @s;
    push @good, scalar grep { read_n($_, 5) ne 'site:' } @s;
}
"@good";
--- stream_response: 1 1 1 1 1 1 1 1 1 1


=== TEST 14: tokens of new seconds, whichever worker is killed
--- servers
echo echo
site tag site
--- stream_config
vmess_users main:4m { alice %%ALICE%% alter_id=16; bob %%BOB%%; }
--- stream_server_config
vmess main;
vmess_fallback 127.0.0.1:%%site%%;
proxy_pass vmess_target;
--- stream_client
workers_now(2);
# those of the next 128 seconds are made ahead: a later one had to be made
# since, and is accepted from 120 seconds before
my @workers = grep { alive($_) } TestVMess::children();
for my $pid (@workers) {
    my $t = int(time) + 131;
    kill 'KILL', $pid;
    is(wait_log(qr/process $pid exited on signal 9/), 1, 'a worker is killed');
    is(wait_for(sub { select undef, undef, undef, 0.3;
                      accepted(alter => 1, time => $t) }, 30), 1,
       'others go on');
    is(accepted(alter => 2), 1, 'a client with a good clock');
}
scalar @workers;
--- stream_response: 2
--- may_alert


=== TEST 15: sessions that are opened while nginx reloads
--- servers
echo echo
site tag site
--- stream_config
vmess_users main:8m { alice %%ALICE%% alter_id=16; bob %%BOB%%;
                      carol %%CAROL%% alter_id=256; }
--- stream_server_config
vmess main;
vmess_fallback 127.0.0.1:%%site%%;
proxy_pass vmess_target;
--- stream_client
workers_now(2);
my ($n, $bad) = (0, 0);
for my $size (8, 8, 12) {
    edit_conf(sub { s/main:8m/main:12m/ }) if $size == 12;
    my %old = map { $_ => 1 } TestVMess::children();
    signal_nginx('HUP');
    my $left = 100;
    for (1 .. 5000) {
        $bad++ if accepted(alter => 1 + ++$n % 16, skew => $n % 200 - 100) != 1;
        last if !(grep { $old{$_} } TestVMess::children()) && !$left--;
    }
    is($left, -1, "the old workers went, $n sessions so far");
}
is($bad, 0, 'all were accepted');

# a user that lost them, and one that got some
edit_conf(sub { s/ alter_id=16//; s/(bob [^;]+)/$1 alter_id=2/ });
reload();
is(accepted(alter => 1), 0, 'no longer');
is(accepted(user => 'bob', alter => 2), 1, 'now');
accepted(user => 'carol', alter => 256);
--- stream_response: 1


=== TEST 16: a token that was used up in a zone of another size
--- servers
echo echo
--- stream_config
vmess_users main:4m { alice %%ALICE%% alter_id=4; bob %%BOB%%; }
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
# by an old worker after the reload, and by a new one; the second header is
# looked up at the old worker, but later
my $t = int time;
my @v = map { vmess(port => 9, alter => $_, time => $t) } 1, 2;
my @old = map { tcp() } 1, 2;
put($old[0], substr($v[0]->header, 0, 30));
put($old[1], substr($v[1]->header, 0, 10));
wait_log(qr/ connected to /, 2) or die 'not connected';
is(accepted(alter => 3), 1, 'both were seen');

edit_conf(sub { s/vmess_users main:4m/vmess_users main:8m/ });
reload();

my $refused = sub {
    my ($s, $bytes, $what) = @_;
    my $n = log_count(qr/client sent /);
    put($s, $bytes . 'x' x 5000);
    is(slurp($s), '', $what);
    is(wait_log(qr/client sent /, $n + 1), 1, 'and logged');
};
$refused->($old[0], 'x' x 400, 'a wrong header to an old worker');
$refused->(tcp(), $v[0]->header, 'a good one to a new one');
$refused->(tcp(), $v[1]->header ^ "\0" x 30 . "\1", 'a wrong one to a new one');
$refused->($old[1], substr($v[1]->header, 10), 'a good one to an old one');
is(log_count(qr/client sent replayed/), 2, 'the good ones are replays');
is(accepted(alter => 3), 1, 'another token');
wait_for(sub { workers_alive() == 1 });
--- stream_response: 1
