package TestVMess;

# Test::Nginx::Socket with "stream" blocks and a VMess client in Perl.
#
# sections of a block
#   servers               little servers, one a line: NAME KIND ARGUMENTS
#   stream_config         goes into stream { }
#   stream_server_config  goes into a server that listens on the stream port
#   listen                parameters of its "listen"
#   no_defaults           do not add the users and the rule for loopback
#   stream_client         Perl code; its value is compared with
#   stream_response, stream_response_like
#   error_log, no_error_log   as in Test::Nginx, but waited for
#   may_alert             the error log may hold alerts
#   quits                 the client ends nginx itself
#   config, http_config   as in Test::Nginx, for ws() and other clients of http
#
# In configurations, those of http too, %%NAME%% is the port of a server, %%STREAM_PORT%% the port
# nginx listens on, %%PORT_1%% .. %%PORT_9%% further ports for nginx, %%DIR%%
# the directory of the logs, %%CERT%% and %%KEY%% a certificate for localhost.
#
# Kinds of servers: see %Kind and %Datagram below; "NAME KIND@ADDRESS" binds elsewhere.
#
# nginx runs with a master; each block ends with a graceful quit, and fails if
# a connection leaked or if a process does not leave.

BEGIN {
    # Test::Nginx's own server must not listen on the wildcard address
    my $port = $ENV{TEST_NGINX_SERVER_PORT} || $ENV{TEST_NGINX_PORT} || 22100;
    $port =~ s/.*://;
    $ENV{TEST_NGINX_CLIENT_PORT} = $port;
    $ENV{TEST_NGINX_SERVER_PORT} = "127.0.0.1:$port";
    $ENV{TEST_NGINX_STREAM_PORT} //= $port + 1;
}

use v5.20;

use strict;
use warnings;

use Test::Nginx::Socket -base;
use Test::Nginx::Util qw($RunTestHelper $ServRoot $PidFile $ConfFile);

use Digest::SHA qw(sha256_hex);
use File::Temp qw(tempdir);
use IO::Select;
use IO::Socket::INET;
use IO::Socket::IP;
use IO::Socket::UNIX;
use POSIX ();
use Socket qw(:all);
use Time::HiRes qw(sleep time);
use VMess;
use VMess::WebSocket;

our @EXPORT = qw(port stream_port tcp unix_sock tls break_tls vmess flow close_flow
                 ws http_port ws_early
                 pattern numbered number_of slurp read_n put wait_for
                 wait_log wait_taken error_log access_log log_count
                 reload signal_nginx children alive workers_alive active idle halt
                 rss grown_less
                 edit_conf nginx_t status_line $Dir %User $Scale
                 sha256_hex hexdump stop_server start_server pause_server resume_server
                 inet_aton inet_pton AF_INET6);

our %User = (alice => 'b831381d-6324-4d53-ad4f-8cda48b30811',
             bob   => 'ad9f3f5b-3e55-4d6e-8d9a-5f2b5b1a3b44',
             mallory => '11111111-2222-3333-4444-555555555555');

# valgrind and sanitizers are slow: every limit is multiplied
our $Scale = $ENV{TEST_VMESS_SCALE} || ($ENV{TEST_NGINX_USE_VALGRIND} ? 10 : 1);
our $Dir = "$ServRoot/logs";

our %Port;                      # of the servers of this block
my %server;                     # name => { sock, pid, kind, args }
my $owner = $$;

$VMess::Timeout = 20 * $Scale;
$VMess::WebSocket::Timeout = 20 * $Scale;

log_level('info');
master_on();
worker_connections(512);


# ---- little servers, each a child that forks once more per connection

our %Kind;
%Kind = (

    # sends back what it gets, then ends when the peer does
    echo => sub {
        my ($s) = @_;
        while (my $n = sysread($s, my $b, 1 << 17)) { put($s, $b) }
    },

    # sends a line and closes
    banner => sub {
        my ($s, @text) = @_;
        put($s, "@text\n");
    },

    # sends a line at once, then behaves as echo
    hello => sub {
        my ($s, @text) = @_;
        put($s, "@text\n");
        while (my $n = sysread($s, my $b, 1 << 17)) { put($s, $b) }
    },

    # sends a line, then behaves as echo: shows who was reached
    tag => sub {
        my ($s, @text) = @_;
        my $first = 1;
        while (my $n = sysread($s, my $b, 1 << 17)) {
            put($s, $first ? "@text:$b" : $b);
            $first = 0;
        }
    },

    # counts until the peer's end and answers with "bytes sha256"; with an
    # argument it pauses so many ms after each read
    sink => sub {
        my ($s, $pause) = @_;
        my $sha = Digest::SHA->new(256);
        my $total = 0;
        while (my $n = sysread($s, my $b, $pause ? 1 << 14 : 1 << 17)) {
            $sha->add($b);
            $total += $n;
            sleep $pause / 1000 if $pause;
        }
        put($s, "$total " . $sha->hexdigest . "\n");
    },

    # sends that many bytes of the pattern and closes
    source => sub {
        my ($s, $size) = @_;
        my $block = pattern(65521 * 16);       # whole periods
        while ($size > 0) {
            my $n = $size < length $block ? $size : length $block;
            put($s, substr($block, 0, $n)) or return;
            $size -= $n;
        }
    },

    # waits for N bytes, answers with "got N", closes
    after => sub {
        my ($s, $need) = @_;
        my $got = read_n($s, $need);
        put($s, 'got ' . length($got) . "\n");
    },

    # takes all, never answers
    silent => sub { while (sysread($_[0], my $b, 1 << 17)) { } },

    # reads nothing
    deaf => sub { sleep 300 },

    # tells the address of its peer
    peer => sub {
        put($_[0], inet_ntoa((unpack_sockaddr_in(getpeername $_[0]))[1]));
    },

    # resets the connection
    reset => sub {
        setsockopt($_[0], SOL_SOCKET, SO_LINGER, pack('ii', 1, 0));
    },

    # waits for a request with an empty line at its end, answers as a web site
    http => sub {
        my ($s, @text) = @_;
        my $in = '';
        while ($in !~ /\r\n\r\n/ && sysread($s, my $b, 4096)) { $in .= $b }
        put($s, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n@text\n");
    },

    # a web application that tells what it was sent: the head, in which ports
    # are left out, and so are headers with the names given, and "bytes sha256"
    # of the body; with "brief", the method instead of the head
    app => sub {
        my ($s, @but) = @_;
        my $in = '';
        while ($in !~ /\r\n\r\n/ && sysread($s, my $b, 4096)) { $in .= $b }
        my ($head, $body) = split /\r\n\r\n/, $in, 2;
        return if !defined $head;

        if ($head =~ /^Content-Length: (\d+)/mi) {
            $body .= read_n($s, $1 - length $body);

        } elsif ($head =~ /^Transfer-Encoding: chunked/mi) {
            while ($body !~ /(?:^|\r\n)0\r\n\r\n$/
                   && sysread($s, my $b, 1 << 16))
            {
                $body .= $b;
            }
            my $all = '';
            while ($body =~ s/^([0-9a-f]+)\r\n//i && hex $1) {
                $all .= substr $body, 0, hex $1, '';
                $body =~ s/^\r\n//;
            }
            $body = $all;
        }

        $head =~ s/:\d+\b//g;
        $head =~ s/\r\n$_: [^\r]*//i for @but;
        $head =~ s/ .*//s if "@but" eq 'brief';
        my $text = $head . ("@but" eq 'brief' ? ' ' : "\n") . length($body)
                   . ' ' . sha256_hex($body) . "\n";
        put($s, "HTTP/1.1 200 OK\r\nContent-Length: " . length($text)
                . "\r\nConnection: close\r\n\r\n$text");
    },

    # as app, when there is a file "go"
    held => sub {
        my ($s, @but) = @_;
        sleep 0.01 until -e "$Dir/go";
        $Kind{app}->($s, @but);
    },
);

# servers of datagrams: each gets its socket and then its arguments, as well

our %Datagram = (

    # sends each back
    udp_echo => sub {
        my ($s) = @_;
        for ( ;; ) {
            my $peer = recv($s, my $b, 1 << 16, 0) // next;
            send($s, $b, 0, $peer);
        }
    },

    # sends each back behind a text: shows who was reached
    udp_tag => sub {
        my ($s, @text) = @_;
        for ( ;; ) {
            my $peer = recv($s, my $b, 1 << 16, 0) // next;
            send($s, "@text:$b", 0, $peer);
        }
    },

    # answers each with "length sha256"
    udp_sum => sub {
        my ($s) = @_;
        for ( ;; ) {
            my $peer = recv($s, my $b, 1 << 16, 0) // next;
            send($s, length($b) . ' ' . sha256_hex($b), 0, $peer);
        }
    },

    # takes all, never answers
    udp_silent => sub { for ( ;; ) { recv($_[0], my $b, 1 << 16, 0) } },

    # sends each back from other ports, of the addresses given in turn
    udp_other => sub {
        my ($s, @addr) = @_;
        for ( ;; ) {
            my $peer = recv($s, my $b, 1 << 16, 0) // next;
            for (@addr) {
                my $from = IO::Socket::INET->new(Proto => 'udp', LocalAddr => $_)
                    or die "socket: $!";
                send($from, "$_:$b", 0, $peer);
            }
        }
    },

    # tells the address and the port of its peer
    udp_peer => sub {
        my ($s) = @_;
        for ( ;; ) {
            my $peer = recv($s, my $b, 1 << 16, 0) // next;
            my ($port, $ip) = unpack_sockaddr_in($peer);
            send($s, inet_ntoa($ip) . ":$port", 0, $peer);
        }
    },

    # answers a datagram "COUNT SIZE" with so many of numbered(); after every
    # 20th it waits a moment, as sockets hold few.  Then there is a file "sent".
    udp_source => sub {
        my ($s) = @_;
        for ( ;; ) {
            my $peer = recv($s, my $b, 1 << 16, 0) // next;
            my ($count, $size) = $b =~ /^(\d+) (\d+)$/ or next;
            for my $i (1 .. $count) {
                send($s, numbered($i, $size), 0, $peer);
                sleep 0.001 if $i % 20 == 0;
            }
            open my $fh, '>', "$Dir/sent";
        }
    },

    # a port that refuses datagrams: the socket is for another peer
    udp_dead => sub {
        connect($_[0], pack_sockaddr_in(9, inet_aton('127.255.255.254')))
            or die "connect: $!";
        sleep 300;
    },
);

# besides these: "dead", a port that refuses connections, and "dns", with
# records "name=address,address"; NX, SILENT and FAIL instead of addresses


sub bind_server {
    my ($name, $kind, @args) = @_;

    ($kind, my $addr) = split /@/, $kind;
    $addr //= '127.0.0.1';
    my $family = $addr =~ /:/ ? AF_INET6 : AF_INET;
    my $dgram = $kind eq 'dns' || $Datagram{$kind};

    socket(my $s, $family, $dgram ? SOCK_DGRAM : SOCK_STREAM, 0)
        or die "socket: $!";

    my $ip = inet_pton($family, $addr);
    my $port = $args[0] && $args[0] =~ /^:(\d+)$/ ? (shift(@args), $1)[1] : 0;
    setsockopt($s, SOL_SOCKET, SO_REUSEADDR, 1) if $port;
    bind($s, $family == AF_INET ? pack_sockaddr_in($port, $ip)
                                : pack_sockaddr_in6($port, $ip))
        or die "bind $addr: $!";

    my @name = $family == AF_INET ? unpack_sockaddr_in(getsockname $s)
                                  : unpack_sockaddr_in6(getsockname $s);
    $Port{$name} = $name[0];

    # the socket is kept: its port is nobody else's while the block runs
    $server{$name} = { sock => $s, kind => $kind, args => \@args };
}


sub start_server {
    my ($name) = @_;

    my $sv = $server{$name};
    my ($s, $kind, @args) = ($sv->{sock}, $sv->{kind}, @{ $sv->{args} });

    return if $kind eq 'dead';
    my $dgram = $kind eq 'dns' ? \&dns_server : $Datagram{$kind};
    die "unknown kind of server \"$kind\"" if !$dgram && !$Kind{$kind};

    listen($s, 512) or die "listen: $!" if !$dgram;

    my $pid = fork // die "fork: $!";
    if ($pid) {
        $sv->{pid} = $pid;
        setpgrp($pid, $pid);
        return;
    }

    # child: no test output, no END blocks, never longer than the test
    setpgrp(0, 0);
    $SIG{$_} = 'DEFAULT' for qw(TERM ALRM INT);
    $SIG{PIPE} = $SIG{CHLD} = 'IGNORE';
    alarm(600 + ($ENV{TEST_VMESS_ALARM} || 0));

    if ($dgram) {
        eval { $dgram->($s, @args) };
        POSIX::_exit(0);
    }

    for ( ;; ) {
        accept(my $c, $s) or next;
        my $child = fork;
        if (defined $child && !$child) {
            alarm 300;
            eval { $Kind{$kind}->($c, @args) };
            finish_connection($c) unless $kind eq 'reset';
            CORE::close $c;
            POSIX::_exit(0);
        }
        CORE::close $c;
    }
}


# closing with bytes unread would reset the connection, and lose the answer

sub finish_connection {
    my ($s) = @_;
    shutdown $s, 1;
    alarm 30;
    while (sysread($s, my $b, 1 << 17)) { }
}


# ends a server; its port refuses connections from then on

sub stop_server {
    my ($name) = @_;
    my $sv = $server{$name} or return;

    if (my $pid = delete $sv->{pid}) {
        kill 'KILL', -$pid;
        waitpid $pid, 0;
    }

    CORE::close $sv->{sock};
}


# what is sent to it meanwhile waits

sub pause_server { kill 'STOP', -$server{$_[0]}{pid} }
sub resume_server { kill 'CONT', -$server{$_[0]}{pid} }


sub stop_servers {
    stop_server($_) for keys %server;
    %server = ();
    %Port = ();
}


sub dns_server {
    my ($s, @records) = @_;

    my %table = map { split /=/, $_, 2 } @records;

    for ( ;; ) {
        my $peer = recv($s, my $q, 4096, 0);
        next if !defined $peer || length $q < 17;

        my ($pos, @labels) = (12);
        while ((my $n = ord substr($q, $pos, 1)) && $pos < length $q) {
            push @labels, substr($q, $pos + 1, $n);
            $pos += $n + 1;
        }

        my $name = lc join '.', @labels;
        my $type = unpack 'n', substr($q, $pos + 1, 2);
        my $data = $table{$name} // 'NX';
        next if $data eq 'SILENT';

        my $code = $data eq 'NX' ? 3 : $data eq 'FAIL' ? 2 : 0;
        my @rr = $code ? () : map { inet_pton(/:/ ? AF_INET6 : AF_INET, $_) }
                              split /,/, $data;
        @rr = grep { length == ($type == 1 ? 4 : $type == 28 ? 16 : 0) } @rr;

        my $r = substr($q, 0, 2) . pack('n5', 0x8580 | $code, 1, scalar @rr, 0, 0)
                . substr($q, 12, $pos + 5 - 12);
        $r .= pack('n n n N n/a*', 0xc00c, $type, 1, 1, $_) for @rr;

        send($s, $r, 0, $peer);
    }
}


# ---- sockets

sub port ($) { $Port{$_[0]} // die "no server \"$_[0]\" in this block" }
sub stream_port () { $ENV{TEST_NGINX_STREAM_PORT} }
sub http_port () { $ENV{TEST_NGINX_CLIENT_PORT} }


# n bytes that are the same everywhere, without a short period

sub pattern ($) {
    my $n = $_[0];
    state $base = do {
        my ($x, $s) = (12345, '');
        for (1 .. 65521) {
            $x = ($x * 1103515245 + 12345) & 0x7fffffff;
            $s .= chr($x >> 16 & 255);
        }
        $s;
    };
    return substr($base x ($n / length($base) + 1), 0, $n);
}


# a datagram of n bytes with a number in front, and the number of one

sub numbered {
    my ($i, $n) = @_;
    state %base;
    my $base = $base{$n} //= pattern($n + 256);
    return substr("$i " . substr($base, $i % 256, $n), 0, $n);
}

# 0: it is not as it was made
sub number_of {
    my ($i) = $_[0] =~ /^(\d+) / or return 0;
    return $_[0] eq numbered($i, length $_[0]) ? $i : 0;
}


sub retry {
    my ($code) = @_;
    my $limit = time + 5 * $Scale;
    while (1) {
        my $r = $code->();
        return $r if $r;
        die "cannot connect: " . ($@ || $!) . "\n" if time > $limit;
        sleep 0.02;
    }
}


# a plain connection; the default is nginx's stream port

sub tcp {
    my ($port, $host) = @_;
    return retry(sub {
        IO::Socket::IP->new(PeerHost => $host // '127.0.0.1',
                            PeerPort => $port // stream_port(),
                            Type => SOCK_STREAM, Timeout => 5 * $Scale) });
}


sub unix_sock {
    my ($path) = @_;
    return retry(sub { IO::Socket::UNIX->new(Peer => $path) });
}


# TLS on a new connection, or over a given one

sub tls {
    my (%o) = @_;
    require IO::Socket::SSL;
    my $sock = delete $o{sock} // tcp(delete $o{port});
    IO::Socket::SSL->start_SSL($sock, SSL_verify_mode => 0,
        SSL_hostname => 'localhost', Timeout => 10 * $Scale, %o)
        or die "TLS: " . IO::Socket::SSL::errstr();
    return $sock;
}


# what is no record of TLS, after which the other end has an error, not an end

sub break_tls {
    my ($sock) = @_;
    open my $raw, '>&', fileno $sock or die "dup: $!";
    syswrite $raw, "\x17\x03\x03\x00\x20" . "\xff" x 32;
    CORE::close $raw;
}


# a client that is not connected: for its bytes.  user => name, to => server

sub vmess {
    my (%o) = @_;
    $o{uuid} = $User{ delete $o{user} // 'alice' } unless defined $o{uuid};
    $o{port} = port(delete $o{to}) if defined $o{to};
    return VMess->new(%o);
}


# a client that has sent its header; via => socket, data => first bytes

sub flow {
    my (%o) = @_;
    my $via = delete $o{via} // tcp();
    my $data = delete $o{data};
    return vmess(%o)->connect($via, data => $data);
}


# a WebSocket, or with upgrade => 1 an HTTPUpgrade, to the http server; via =>
# socket, further options as of VMess::WebSocket

sub ws {
    my (%o) = @_;
    my $via = delete $o{via} // tcp(http_port());
    return VMess::WebSocket->new($via, %o);
}


# a flow of which the header and the first data are early data: the flow and
# its WebSocket; ws => options of that

sub ws_early {
    my (%o) = @_;
    my ($data, $ws) = (delete $o{data} // '', delete $o{ws} // {});
    my $v = vmess(%o);
    my $w = ws(early => $v->header . $v->chunk($data), %$ws);
    return ($v->connect($w, quiet => 1), $w);
}


sub put {
    my ($s, $data) = @_;
    my $off = 0;
    while ($off < length $data) {
        my $n = syswrite($s, $data, length($data) - $off, $off);
        if (!defined $n) {
            next if $!{EINTR};
            return 0 unless $!{EAGAIN};
            IO::Select->new($s)->can_write(20 * $Scale) or return 0;
            next;
        }
        $off += $n;
    }
    return 1;
}


# up to n bytes, or what comes before the end

sub read_n {
    my ($s, $need) = @_;
    my $all = '';
    my $limit = time + 20 * $Scale;
    while (length $all < $need) {
        my $left = $need - length $all;
        my $n = sysread($s, my $b, $left < 1 << 18 ? $left : 1 << 18);
        if (!defined $n) {
            next if $!{EINTR};
            last unless $!{EAGAIN};
            IO::Select->new($s)->can_read($limit - time)
                or die 'timed out with ' . length($all) . " bytes\n";
            next;
        }
        last unless $n;
        $all .= $b;
    }
    return $all;
}


sub slurp { return read_n($_[0], 1 << 40) }
sub hexdump { return unpack 'H*', $_[0] }


# ---- nginx: logs, signals, configurations

sub file_text {
    open my $fh, '<', $_[0] or return '';
    local $/;
    return <$fh> // '';
}

sub error_log () { file_text("$Dir/error.log") }
sub access_log { file_text("$Dir/" . ($_[0] // 'stream.log')) }
sub log_count { my $n = () = error_log() =~ /$_[0]/g; return $n }


# open connections, by "location = /status { stub_status; }"

sub active {
    my $s = tcp(http_port());
    put($s, "GET /status HTTP/1.0\r\n\r\n");
    my ($n) = slurp($s) =~ /Active connections: (\d+)/;
    return $n;
}


# waits until the workers use no processor time, as when all flows are held

sub idle {
    my ($last, $same) = ('', 0);

    return wait_for(sub {
        my $now = join ' ', map { (split ' ', file_text("/proc/$_/schedstat"))[0] }
                            children();
        select undef, undef, undef, 0.1;
        $same = $now eq $last ? $same + 1 : 0;
        $last = $now;
        $same >= 2;
    });
}


# memory of the workers in kB

sub rss {
    my $sum = 0;

    for (children()) {
        my ($n) = file_text("/proc/$_/status") =~ /VmRSS:\s+(\d+)/;
        $sum += $n;
    }

    return $sum;
}


# The memory of the workers has grown by less than so many kB since rss() gave
# $before.  AddressSanitizer puts room around what is allocated, and keeps what
# is freed for a while (quarantine_size_mb of t/tools/asan).

sub grown_less {
    my ($before, $limit) = @_;

    my $workers = () = children();

    $limit = 3 * $limit + 40_000 * $workers if $ENV{ASAN_OPTIONS};

    local $Test::Builder::Level = $Test::Builder::Level + 1;
    return Test::More::cmp_ok(rss() - $before, '<', $limit, 'memory in kB');
}


# Sends STOP or KILL to processes, and waits until they have stopped or died:
# one that is about to is still woken by a connection, which nobody takes then

sub halt {
    my ($signal, @pids) = @_;
    kill $signal, @pids;
    return wait_for(sub { !grep { file_text("/proc/$_/stat") =~ /.*\) [^TtZX]/s } @pids });
}


# waits until the code is true, some seconds at most

sub wait_for {
    my ($code, $seconds) = @_;
    my $limit = time + ($seconds // 10) * $Scale;
    while (1) {
        my $r = $code->();
        return $r if $r;
        return 0 if time > $limit;
        sleep 0.01;
    }
}


sub wait_log {
    my ($re, $count, $seconds) = @_;
    return wait_for(sub { log_count($re) >= ($count // 1) }, $seconds);
}


# waits until nginx has taken all that was sent to a port: the queues that the
# kernel keeps of its connections, and of those not accepted yet, are empty

sub wait_taken {
    my $port = sprintf '%04X', $_[0] // stream_port();

    return wait_for(sub {
        my $table = file_text('/proc/net/tcp') . file_text('/proc/net/tcp6');
        return $table =~ /:$port [0-9A-F]+:[0-9A-F]{4} 0[1A] /
               && $table !~ /:$port [0-9A-F]+:[0-9A-F]{4} 0[1A] \w+:(?!0{8} )/;
    });
}


sub master_pid {
    my ($pid) = file_text($PidFile) =~ /(\d+)/;
    return $pid;
}

sub signal_nginx { return kill $_[0], master_pid() // die "no nginx\n" }


sub children {
    my $pid = master_pid() // return;
    return split ' ', file_text("/proc/$pid/task/$pid/children");
}


# whether a process is there, and not only its status

sub alive { return file_text("/proc/$_[0]/stat") =~ /.*\) [^ZX]/s }


# how many workers there are, old and new

sub workers_alive { return scalar(my @p = grep { alive($_) } children()) }


# Sends HUP and waits for a new generation of workers, and until no old one
# accepts connections any more.  Dies if the reload fails.

sub reload {
    my @old = children();
    my %old = map { $_ => 1 } @old;
    my $errors = log_count(qr/\[emerg\]/);
    signal_nginx('HUP');
    return wait_for(sub {
        die "reload failed\n" if log_count(qr/\[emerg\]/) > $errors;
        return 0 unless grep { !$old{$_} } children();
        return !grep {
            my $title = file_text("/proc/$_/cmdline");
            $title ne '' && $title !~ /shutting down/;
        } @old;
    });
}


# changes nginx.conf: the code gets it in $_

sub edit_conf {
    my ($code) = @_;
    local $_ = file_text($ConfFile);
    my $old = $_;
    $code->();
    die "the configuration did not change\n" if $_ eq $old;
    open my $fh, '>', $ConfFile or die $!;
    print $fh $_;
    CORE::close $fh;
}


# nginx -t on a stream { } with this text: exit code and output

sub nginx_t {
    my ($stream, %o) = @_;

    state $dir = tempdir('vmess-conf-XXXXXX', TMPDIR => 1, CLEANUP => 1);
    mkdir "$dir/logs";

    my $modules = join '', map { "load_module $_;\n" }
                           split ' ', $ENV{TEST_NGINX_LOAD_MODULES} // '';
    $stream = expand($stream);

    open my $fh, '>', "$dir/nginx.conf" or die $!;
    print $fh "${modules}error_log $dir/logs/error.log;\npid $dir/pid;\n",
              'events { }', "\n", $o{main} // '', "\nstream {\n$stream\n}\n";
    CORE::close $fh;

    for my $name (keys %{ $o{files} // {} }) {
        open my $f, '>', "$dir/$name" or die $!;
        print $f $o{files}{$name};
        CORE::close $f;
    }

    my $bin = $ENV{TEST_NGINX_BINARY} || 'nginx';
    my $preload = $ENV{TEST_NGINX_LD_PRELOAD};
    local $ENV{LD_PRELOAD} = $preload if $preload;
    my $out = `$bin -t -p $dir/ -c $dir/nginx.conf -e stderr 2>&1`;

    my $status = $? >> 8 || $? & 127;

    Test::More::fail("nginx -t: $out") if $out =~ /runtime error: |Sanitizer/;

    return ($status, $out);
}


my $pem;

sub certificate {
    return $pem if $pem;
    my $dir = tempdir('vmess-cert-XXXXXX', TMPDIR => 1, CLEANUP => 1);
    system("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 "
           . "-nodes -subj /CN=localhost -days 30 -keyout $dir/key.pem "
           . "-out $dir/cert.pem 2>$dir/log") == 0
        or die 'openssl: ' . file_text("$dir/log");
    return $pem = $dir;
}


sub expand {
    my ($text) = @_;

    $text =~ s{%%(\w+)%%}{
        $1 eq 'STREAM_PORT' ? stream_port()
        : $1 =~ /^PORT_(\d)$/ ? stream_port() + $1
        : $1 eq 'DIR' ? $Dir
        : $1 eq 'CERT' ? certificate() . '/cert.pem'
        : $1 eq 'KEY' ? certificate() . '/key.pem'
        : $User{lc $1} && $1 eq uc $1 ? $User{lc $1}
        : port($1)
    }eg;

    return $text;
}


# ---- the glue

add_block_preprocessor {
    my ($block) = @_;

    stop_servers();

    my $top = $block->stream_config;
    my $server = $block->stream_server_config;

    $block->set_value('suppress_stderr', '1');
    $block->set_value('config', 'location = /alive { return 200 ok; }')
        unless defined $block->config;
    $block->set_value('request', 'GET /alive')
        unless defined $block->request;

    return unless defined $top || defined $server;

    for (split /\n/, $block->servers // '') {
        my @w = split ' ';
        bind_server(@w) if @w;
    }

    my $conf = $top // '';

    if (!defined $block->no_defaults) {
        $conf = "vmess_users main:1m {\nalice $User{alice};\n"
                . "bob $User{bob};\n}\n$conf" unless $conf =~ /\bvmess_users\b/;
        $conf = "vmess_allow 127.0.0.0/8;\nvmess_allow ::1;\n$conf"
            unless $conf =~ /^\s*vmess_(allow|deny)\b/m;
    }

    $conf .= "server {\nlisten 127.0.0.1:" . stream_port() . ' '
             . ($block->listen // '') . ";\n$server\n}\n" if defined $server;

    $block->set_value('main_config', ($block->main_config // '')
                                     . "stream {\n" . expand($conf) . "}\n");
    for my $section (qw(http_config config)) {
        $block->set_value($section, expand($block->$section))
            if defined $block->$section;
    }

    start_server($_) for keys %server;
};


my $plain_helper = $RunTestHelper;

$RunTestHelper = sub {
    my ($block, $dry_run, $i) = @_;

    return $plain_helper->(@_) unless defined $block->stream_client;

    my $name = $block->name;

    if ($dry_run) {
        SKIP: { Test::More::skip("$name (dry run)", 1) }
        return;
    }

    my $got = do {
        local $SIG{ALRM} = sub { die "the client did not finish\n" };
        local $SIG{PIPE} = 'IGNORE';
        alarm(($ENV{TEST_VMESS_ALARM} || 120) * $Scale);

        # the pid file is there before the workers are

        wait_for(sub { children() });
        my $r = eval "package main; no strict; no warnings;"
                     . "#line 1 \"stream_client\"\n" . $block->stream_client;
        my $e = $@;
        alarm 0;
        Test::More::is($e, '', "$name - client ran");
        $r;
    };

    Test::More::is($got, $block->stream_response, "$name - stream_response")
        if defined $block->stream_response;

    Test::More::like($got, qr/${\($block->stream_response_like)}/s,
        "$name - stream_response_like")
        if defined $block->stream_response_like;

    # nginx may log a little later than the client sees the end
    if (defined(my $want = $block->error_log)) {
        my @want = ref $want eq 'ARRAY' ? @$want
                   : ref $want ? ($want)
                   : map { qr/\Q$_\E/ } grep { length } split /\n+/, $want;
        wait_for(sub { my $log = error_log();
                       !grep { $log !~ $_ } @want }, 5);
    }

    Test::Nginx::Socket::check_error_log($block, undef, $dry_run, $i);

    # under valgrind Test::Nginx stops nginx itself
    quit($name) unless $ENV{TEST_NGINX_USE_VALGRIND} || defined $block->quits;

    # UBSan reports to stderr, which is the error log, and ends the process
    my $bad = qr/runtime error: |exited with code [1-9]/;

    # nginx itself may crash then: reports say where
    $bad = qr/runtime error: / if $ENV{VMESS_FAIL_ALLOC};

    $bad = qr/$bad|\[(?:alert|crit|emerg)\]/ unless defined $block->may_alert;

    Test::More::is(join('', grep { /$bad/ } split /^/, error_log()), '',
                   "$name - no alerts");
};


# a graceful quit: whoever holds a connection, or lost one, is found

sub quit {
    my ($name) = @_;

    my $pid = master_pid();

    if (!$pid || !kill 0, $pid) {
        Test::More::fail("$name - nginx runs at the end");
        return;
    }

    kill 'QUIT', $pid;

    my $gone = wait_for(sub { !-e $PidFile || !kill 0, $pid }, 10);
    Test::More::ok($gone, "$name - nginx leaves");
    return if $gone;

    kill 'TERM', $pid;
    wait_for(sub { !-e $PidFile || !kill 0, $pid }, 5);
}


END {
    if ($$ == $owner) {
        my $status = $?;
        stop_servers();
        $? = $status;
    }
}

1;
