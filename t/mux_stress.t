# Mux.Cool under stress: sub-connections of random sizes, ended by either side
# at any moment, with readers that are slow or gone, on several carriers.
#
#   VMESS_STRESS_SECONDS   how long, 10 by default
#   VMESS_STRESS_SEED      the seed of an earlier run

use v5.20;

our $seconds;

BEGIN {
    $seconds = $ENV{VMESS_STRESS_SECONDS} || 10;
    $ENV{TEST_VMESS_ALARM} ||= $seconds + 120;
}

use lib "t/lib";
use TestVMess;
use List::Util qw(min max sum0 shuffle);
use Socket qw(SOL_SOCKET SO_LINGER unpack_sockaddr_in);
use VMess::GRPC;
use VMess::HTTP2;
use VMess::Mux;

plan "no_plan";
no_shuffle();
worker_connections(4096);
workers(2);

our $PERIOD = 65521;
our $MAX = 1 << 20;              # bytes of a sub-connection
our $STREAMS = 128;
our $NAMES = 40;                 # Global IDs of XUDP

our $base = pattern($MAX + 2 * $PERIOD);
our %target;                     # ports of the targets, their pid, their reports
our %count;                      # what was done
our @bad;                        # what was wrong
our @mux;                        # connections


# what a sub-connection sends or gets, each its own

sub piece {
    my ($s, $off, $n) = @_;
    return substr($base, $s->{key} % $PERIOD + $off, $n);
}


sub bad {
    my ($m, $s, $why) = @_;
    push @bad, "$m->{carrier} $m->{number}, $s->{kind} $s->{id} of $s->{size},"
               . " sent $s->{sent} got $s->{got}: $why" if @bad < 20;
}


# ---- the targets: one process, one loop.  The first line of a connection says
# what it is for: "kind key size rest cut".  It rests so many ms after each
# read, and is reset after "cut" bytes, unless that is 0.

sub targets {
    my $l = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 1024,
                                  Blocking => 0) or die "listen: $!";
    my @udp = map { IO::Socket::INET->new(LocalAddr => '127.0.0.1',
                                          Proto => 'udp', Blocking => 0) } 1, 2;

    pipe(my $reader, my $writer) or die "pipe: $!";
    my $pid = fork // die "fork: $!";

    if (!$pid) {
        $SIG{$_} = 'DEFAULT' for qw(TERM ALRM INT);
        $SIG{PIPE} = 'IGNORE';
        alarm $seconds + 600;
        eval { serve($l, \@udp, $writer) };
        print STDERR "target: $@";
        POSIX::_exit(1);
    }

    $reader->blocking(0);
    %target = (pid => $pid, reader => $reader, tcp => $l->sockport,
               udp => [ map { $_->sockport } @udp ]);
}


sub serve {
    my ($l, $udp, $writer) = @_;
    my %c;

    for ( ;; ) {
        my ($r, $w) = ('', '');
        my $now = Time::HiRes::time();

        vec($r, fileno $_, 1) = 1 for $l, @$udp;

        for my $c (values %c) {
            my $n = fileno $c->{sock};
            vec($r, $n, 1) = 1 if $now >= $c->{until} && length $c->{out} < 1 << 18;
            vec($w, $n, 1) = 1 if length $c->{out} || $c->{left};
        }

        select($r, $w, undef, 0.01);

        for my $u (@$udp) {
            for (1 .. 50) {
                my $peer = recv($u, my $b, 1 << 16, 0) // last;
                my ($port) = unpack_sockaddr_in($peer);
                send($u, "$port $b", 0, $peer);
            }
        }

        for (1 .. 50) {
            my $s = $l->accept or last;
            $s->blocking(0);
            $c{fileno $s} = { sock => $s, in => '', out => '', got => 0,
                              until => 0, sha => Digest::SHA->new(256) };
        }

        for my $c (values %c) {
            my $n = fileno $c->{sock};
            my $over = vec($r, $n, 1) && !target_read($c, $writer)
                       || $c->{kind} && !target_write($c);
            next unless $over;
            setsockopt($c->{sock}, SOL_SOCKET, SO_LINGER, pack('ii', 1, 0))
                if $c->{reset};
            CORE::close $c->{sock};
            delete $c{$n};
        }
    }
}


# false when it is over

sub target_read {
    my ($c, $writer) = @_;

    my $n = sysread($c->{sock}, my $b, $c->{rest} ? 1 << 13 : 1 << 17);

    return $!{EAGAIN} if !defined $n;

    if (!$n) {
        syswrite $writer, "$c->{key} $c->{got} " . $c->{sha}->hexdigest . "\n"
            if ($c->{kind} // '') eq 'leave';
        return 0;
    }

    if (!$c->{kind}) {
        $c->{in} .= $b;
        $c->{in} =~ s/^(\w+) (\d+) (\d+) (\d+) (\d+)\n// or return 1;
        @$c{qw(kind key size rest cut)} = ($1, $2, $3, $4, $5);
        $b = delete $c->{in};
        $c->{left} = $c->{size} if $c->{kind} eq 'down';
    }

    $c->{got} += length $b;
    $c->{until} = Time::HiRes::time() + $c->{rest} / 1000;
    $c->{sha}->add($b) if $c->{kind} =~ /up|leave/;
    $c->{out} .= $b if $c->{kind} eq 'echo';
    $c->{out} = $c->{sha}->clone->hexdigest
        if $c->{kind} eq 'up' && $c->{got} == $c->{size};

    return 1;
}


sub target_write {
    my ($c) = @_;

    if ($c->{kind} eq 'deaf') {
        $c->{reset} = $c->{key} % 2;
        return Time::HiRes::time() < $c->{until};
    }

    if ($c->{left} && length $c->{out} < 1 << 16) {
        my $n = min($c->{left}, 1 << 16);
        $c->{out} .= piece($c, $c->{size} - $c->{left}, $n);
        $c->{left} -= $n;
    }

    if (length $c->{out}) {
        my $n = syswrite($c->{sock}, $c->{out}) // ($!{EAGAIN} ? 0 : return 0);
        substr($c->{out}, 0, $n, '');
        $c->{written} += $n;
    }

    my $done = $c->{kind} eq 'down' ? $c->{written} // 0 : $c->{got};

    $c->{reset} = 1 if $c->{cut} && $done >= $c->{cut};

    return !$c->{reset}
           && ($c->{kind} eq 'leave' || $done < $c->{size} || length $c->{out});
}


# ---- connections

our $HTTP = <<'END';
server {
    listen 127.0.0.1:%%PORT_3%% http2;
    location = /svc/Tun { vmess_pass ray; }
}
END

sub connection {
    my ($number) = @_;

    my $name = (qw(tcp tls websocket grpc))[$number % 4];
    my %port = (tls => stream_port() + 2, websocket => http_port(),
                grpc => stream_port() + 3);
    my $s = tcp($port{$name});
    my $via = $name eq 'tls' ? tls(sock => $s)
              : $name eq 'websocket' ? ws(via => $s)
              : $name eq 'grpc'
              ? VMess::HTTP2->new($s)->request('POST', '/svc/Tun',
                    codec => VMess::GRPC->new,
                    headers => [ 'content-type' => 'application/grpc',
                                 te => 'trailers' ])
              : $s;

    my $m = VMess::Mux->new(flow(cmd => 'mux', via => $via,
                                 sec => (qw(aes-128-gcm none zero))[rand 3]));

    # opened: the last id; want: so many at once; until: its life
    $m->{late} = 1;
    @$m{qw(number carrier tcp opened live out rest)} = ($number, $name, $s, 0, {}, '', 0);
    $m->{want} = $number ? (1, 20, $STREAMS, $STREAMS)[rand 4] : $STREAMS;
    $m->{until} = Time::HiRes::time() + 0.3 + rand 4;
    $count{$name}++;

    return $m;
}


sub random_size { return int(2 ** rand(log($MAX) / log(2))) }


# a sub-connection: the bytes that open it

sub opening {
    my ($m) = @_;

    my $id = ++$m->{opened};
    my $kind = (qw(echo echo down down up up leave deaf dead udp udp xudp))[rand 12];
    my $s = $m->{live}{$id} = { kind => $kind, id => $id, sent => 0, got => 0,
                                key => int rand 1e9, size => random_size(),
                                cut => 0, abort => 0 };
    $m->expect($id);
    $count{opened}++;

    # some are ended by the client, some reset by the target
    $s->{abort} = 1 + int rand $s->{size} if rand() < 0.2;
    $s->{cut} = 1 + int rand $s->{size} if rand() < 0.15 && $kind =~ /echo|down|up/;

    return VMess::Mux::opening($id, port => 1) if $kind eq 'dead';

    if ($kind =~ /udp/) {
        $s->{key} = int rand $NAMES if $kind eq 'xudp';
        $s->{size} = 1 + $s->{size} % 100;
        $s->{abort} = 1 + int rand $s->{size} if $s->{abort};
        $s->{port} = $target{udp}[rand 2];
        return VMess::Mux::opening($id, net => 'udp', port => $s->{port},
                                   data => datagram($s, $s->{port}),
                                   $kind eq 'xudp' ? (global_id => global_id($s->{key})) : ());
    }

    my $rest = $kind eq 'deaf' ? int rand 1000 : rand() < 0.1 ? 1 + int rand 20 : 0;
    my $line = "$kind $s->{key} $s->{size} $rest $s->{cut}\n";

    return VMess::Mux::opening($id, port => $target{tcp}, data => $line) if rand() < .7;
    return VMess::Mux::opening($id, port => $target{tcp}) . VMess::Mux::keeping($id, $line);
}


sub global_id { return pack('a4 N', 'name', $_[0]) }


# says whose it is, where it goes, and its number

sub datagram {
    my ($s, $port) = @_;
    my $n = ++$s->{sent};
    return "$s->{key} $port $n " . piece($s, $n, random_size() % 1400);
}


# what a sub-connection does next: bytes of frames

sub turn {
    my ($m, $s) = @_;

    my $id = $s->{id};

    if ($s->{abort} && $s->{sent} + $s->{got} >= $s->{abort}) {
        $count{aborted}++;
        return over($m, $s, rand() < .5 ? 2 : 0);
    }

    if ($s->{sent} < $s->{size} && $s->{kind} =~ /udp/) {
        $count{datagrams}++;
        return VMess::Mux::keeping($id, datagram($s, $s->{port}))
            if $s->{kind} eq 'udp' || rand() < .3;
        my $port = $target{udp}[rand 2];
        return VMess::Mux::keeping($id, datagram($s, $port), to => [ '127.0.0.1', $port ]);
    }

    if ($s->{sent} < $s->{size} && $s->{kind} =~ /echo|up|leave|deaf/) {
        my $n = min($s->{size} - $s->{sent}, int 2 ** rand 16);
        my $data = piece($s, $s->{sent}, $n);
        $s->{sent} += $n;
        $count{up} += $n;
        return VMess::Mux::keeping($id, $data);
    }

    # all was sent
    if ($s->{kind} eq 'leave') {
        return '' if $s->{ended}++;
        $m->{sub}{$id}{left} = 1;
        return VMess::Mux::ending($id);
    }

    if ($s->{kind} =~ /udp/) {
        $count{done}++;
        return over($m, $s, 0);
    }

    return '';
}


# the client ends it

sub over {
    my ($m, $s, $opt) = @_;
    $m->{sub}{$s->{id}} = { in => '', packets => [], peers => [], over => 1 };
    push @{ $m->{gone} }, $s->{id};
    delete $m->{live}{$s->{id}};
    return VMess::Mux::ending($s->{id}, $opt);
}


# what has come for it

sub look {
    my ($m, $s) = @_;

    my $sub = $m->{sub}{$s->{id}};
    my @packets = splice @{ $sub->{packets} };
    my @peers = splice @{ $sub->{peers} };
    my $in = substr($sub->{in}, 0, length $sub->{in}, '');

    if ($s->{kind} =~ /udp/) {
        for my $i (0 .. $#packets) {
            my ($from, $key, $port, $n) = $packets[$i] =~ /^(\d+) (\d+) (\d+) (\d+) /;
            my $text = substr($packets[$i], length "$from $key $port $n ");
            my $peer = $s->{kind} eq 'xudp' ? "127.0.0.1:$port" : '';
            bad($m, $s, "a datagram of $key from $peers[$i]")
                if $peers[$i] ne $peer
                   || $text ne piece({ key => $key }, $n, length $text);
            push @{ $s->{$key == $s->{key} ? 'own' : 'strays'} }, $from;
            $count{answers}++;
        }

        # an answer to one that ended comes late, to who got its port from the kernel

        if ($s->{own} && $s->{strays}) {
            bad($m, $s, 'datagrams of others')
                if grep { $_ != $s->{own}[0] } @{ $s->{own} }, @{ $s->{strays} };
            $count{strays} += @{ delete $s->{strays} };
        }

        # its session may be another's by now
        finished($m, $s, 'taken', 0) if defined $sub->{end};
        return;
    }

    if (length $in) {
        $count{down} += length $in;
        $s->{kind} eq 'up' ? ($s->{sum} .= $in)
        : $in eq piece($s, $s->{got}, length $in) || bad($m, $s, 'other bytes');
        $s->{got} += length $in;
    }

    return unless defined $sub->{end};

    if ($s->{kind} eq 'up' && defined $s->{sum}) {
        bad($m, $s, 'check sum') if $s->{sum} ne sha256_hex(piece($s, 0, $s->{size}));
        finished($m, $s, 'done', 1);
    } elsif ($s->{kind} =~ /echo|down/ && $s->{got} == $s->{size}) {
        finished($m, $s, 'done', 1);
    } elsif ($s->{cut} || $s->{kind} =~ /deaf|dead/) {
        finished($m, $s, 'reset', 0);
    } else {
        bad($m, $s, "an End with $sub->{end} too early");
        finished($m, $s, 'bad', 0);
    }
}


sub finished {
    my ($m, $s, $what, $good) = @_;
    bad($m, $s, 'End with an error') if $good && $m->{sub}{$s->{id}}{end} && !$s->{cut};
    $count{$what}++;
    delete $m->{live}{$s->{id}};
}


# what the targets that were left have got

sub reports {
    state $in = '';
    sysread($target{reader}, $in, 1 << 16, length $in);

    while ($in =~ s/^(\d+) (\d+) (\w+)\n//) {
        for my $m (grep { !$_->{over} } @mux) {
            for my $s (grep { $_->{kind} eq 'leave' && $_->{key} == $1 && $_->{ended} }
                            values %{ $m->{live} })
            {
                bad($m, $s, "$2 bytes have arrived")
                    if $3 ne sha256_hex(piece($s, 0, $s->{size}));
                $count{done}++;
                delete $m->{live}{$s->{id}};
            }
        }
    }
}


# some frames, and the end when there is nothing else to do

sub frames {
    my ($m, $stopping) = @_;

    my $out = '';
    my $now = Time::HiRes::time();
    my $ending = $stopping || $now > $m->{until};

    # each second one ends in the middle of something

    return cut($m) if $ending && !$stopping && $m->{number} % 2;

    while (!$ending && keys %{ $m->{live} } < $m->{want} && $m->{opened} < 60_000
           && length $out < 30_000 && rand() < .9)
    {
        $out .= opening($m);
    }

    my $live = $m->{live};
    $count{most} = max($count{most} // 0, scalar keys %$live);

    for my $id ((shuffle keys %$live)[0 .. 15]) {
        last if !defined $id;
        $out .= turn($m, $live->{$id});
    }

    $out .= VMess::Mux::frame(int rand 65536, 4, data => 'KeepAlive')
        if rand() < .02;
    $out .= VMess::Mux::keeping($m->{gone}[rand @{ $m->{gone} }], 'late')
        if $m->{gone} && rand() < .05;

    # a client that does not read for a while

    $m->{rest} = $now + rand 0.5 if rand() < .005;

    leave($m) if $ending && !%$live && !length $out;

    return $out;
}


sub cut {
    my ($m) = @_;

    my $out = $m->{flow}->chunk(map { turn($m, $_) } values %{ $m->{live} });

    $count{cut}++;
    $count{lost} += keys %{ $m->{live} };
    $m->{sock} //= $m->{flow}{sock};
    syswrite $m->{sock}, substr($out, 0, rand length $out) if length $out;
    setsockopt($m->{tcp}, SOL_SOCKET, SO_LINGER, pack('ii', 1, 0)) if rand() < .5;
    leave($m);
    return '';
}


sub leave {
    my ($m) = @_;
    $m->{over} = 1;
    CORE::close $m->{tcp};
}


# reads and writes: true if there was something

sub move {
    my ($m, $stopping) = @_;

    my $f = $m->{flow};
    my $progress = 0;

    if (Time::HiRes::time() >= $m->{rest}) {
        for (1 .. 4) {
            my $n = sysread($f->{sock}, my $b, 1 << 17) // last;
            die "connection $m->{number}, $m->{carrier}, was closed\n" if !$n;
            $f->feed($b);
            $progress = 1;
        }

        if ($progress) {
            $m->_parse;
            look($m, $_) for values %{ $m->{live} };
        }
    }

    if (!length $m->{out}) {
        my $out = frames($m, $stopping);
        return 1 if $m->{over};
        $m->{out} = $f->chunk($out);
    }

    if (length $m->{out}) {
        my $n = syswrite($f->{sock}, $m->{out}, 1 << 16) // 0;
        substr($m->{out}, 0, $n, '');
        $progress = 1 if $n;
    }

    return $progress;
}


# so many seconds, and as long as it takes to have many at once, and to finish
# what there is

sub stress {
    my ($time) = @_;

    my $end = Time::HiRes::time() + $time;
    my $limit = $end + 60 * $Scale;
    state $number = 0;

    for ( ;; ) {
        my $now = Time::HiRes::time();
        my $stopping = $now > $end
                       && ($count{most} // 0) > 100 || $now > $end + 30 * $Scale;

        @mux = grep { !$_->{over} } @mux;
        push @mux, connection($number++) while !$stopping && @mux < 4;
        last if !@mux;

        if (Time::HiRes::time() > $limit) {
            for my $m (@mux) {
                bad($m, $_, 'did not end') for values %{ $m->{live} };
            }
            last;
        }

        my $progress = sum0 map { move($_, $stopping) } @mux;
        reports();
        next if $progress;

        my ($r, $w) = ('', '');
        for my $m (@mux) {
            vec($r, fileno $m->{tcp}, 1) = 1 if Time::HiRes::time() >= $m->{rest};
            vec($w, fileno $m->{tcp}, 1) = 1 if length $m->{out};
        }
        vec($r, fileno $target{reader}, 1) = 1;
        select($r, $w, undef, 0.01);
    }
}


# true when nothing is left.  Sessions of XUDP wait a minute for their client:
# it comes and ends them, and does so again, as a connection that was cut may
# still open some.

sub gone {
    my ($active) = @_;

    my $m = VMess::Mux->new(flow(cmd => 'mux'));
    $m->{late} = 1;
    $m->expect(1 .. $NAMES);
    for my $id (1 .. $NAMES) {
        $m->write(VMess::Mux::opening($id, net => 'udp', port => $target{udp}[0],
                                      data => "0 $target{udp}[0] 0 ",
                                      global_id => global_id($id - 1))
                  . VMess::Mux::ending($id, 2));
    }

    # a reset because of answers that are not read would drop what is on its way

    $m->{flow}->shut;
    $m->closed;
    $m->close;

    return wait_for(sub { active() == $active }, 1);
}

run_tests();

__DATA__

=== TEST 1: sums are right, and all is given back
--- main_config
worker_rlimit_nofile 8192;
--- http_config eval: $::HTTP
--- config
location = /status { stub_status; }
location = /alive { return 200; }
location = /ray { vmess_pass ray; }
--- stream_config
server {
    listen 127.0.0.1:%%PORT_2%% ssl;
    ssl_certificate %%CERT%%;
    ssl_certificate_key %%KEY%%;
    vmess main;
    proxy_pass vmess_target;
}
server {
    vmess_listen ray;
    vmess main;
    proxy_pass vmess_target;
}
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my $seed = $ENV{VMESS_STRESS_SEED} // int rand 1e9;
srand $seed;
Test::More::note("VMESS_STRESS_SEED=$seed");
targets();
my $active = active();
my @rss = rss();

eval {
    for (1 .. 3) {
        stress($seconds / 3);
        is(wait_for(sub { gone($active) }, 30), 1, 'no connection is left');
        idle();
        push @rss, rss();
    }
};
is($@, '', 'the client');
kill 'KILL', $target{pid};
waitpid $target{pid}, 0;

Test::More::note(join ', ', map { "$_ $count{$_}" } sort keys %count);
Test::More::note("rss @rss kB");
is(join("\n", @bad), '', 'each sum');
is(join(' ', grep { !$count{$_} } qw(done reset aborted taken lost answers)), '', 'there was all of it');
cmp_ok($count{most}, '>', 100, 'many at once');

# the allocator keeps what the most sub-connections of a worker have taken;
# leaks are found under ASan
grown_less($rss[2], 24_000);

join '', grep { /\[error\]/ && !/Connection re(?:set|fused)|Broken pipe/ } split /^/, error_log();
--- stream_response:
