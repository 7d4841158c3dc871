package VMess::KCP;

# The client's end of mKCP for the tests, with the simple seal or that of $Seed,
# and behind $Header, sharing nothing with src/.
#
#   seal($segments) open($datagram)   open is undef if the check sum is wrong
#   data($conv, $number, $payload)    segments
#   ack($conv, $next, $timestamp, @numbers)
#   command($conv, $command)
#   parse($segments)                  a list of hashes
#
#   my $s = VMess::KCP::connect($port, $host);
#
# is a socket: a process of its own carries what is written over a session, and
# ends the session when the socket is closed; it ends the other way round, too.
# It sends what was not acknowledged again each 100 ms, that is all.

use v5.20;
use strict;
use warnings;

use Crypt::AuthEnc::GCM qw(gcm_encrypt_authenticate gcm_decrypt_verify);
use Crypt::Digest::SHA256 qw(sha256);
use Crypt::PRNG qw(random_bytes);
use IO::Select;
use IO::Socket::IP;
use POSIX ();
use Socket qw(AF_UNIX PF_UNSPEC SOCK_DGRAM SOCK_STREAM);
use Time::HiRes qw(time);

use constant { ACK => 0, DATA => 1, TERMINATE => 2, PING => 3 };

our $Window = 64;
our $Header = '';
our $Seed;
our $Silent = 0;        # does not answer the end of a session
our $Lost = 0;          # of the first datagrams with data for a session


sub fnv {
    my $h = 0x811c9dc5;
    $h = (($h ^ $_) * 0x01000193) & 0xffffffff for unpack 'C*', $_[0];
    return pack 'N', $h;
}


sub key { return substr sha256($Seed), 0, 16 }


sub seal {
    if (defined $Seed) {
        my $nonce = random_bytes(12);
        return join '', $Header, $nonce,
            gcm_encrypt_authenticate('AES', key(), $nonce, '', $_[0]);
    }

    my $p = pack 'n/a*', $_[0];
    my @x = unpack 'C*', fnv($p) . $p;
    $x[$_] ^= $x[$_ - 4] for 4 .. $#x;
    return $Header . pack 'C*', @x;
}


sub open {
    my $d = substr $_[0], length $Header;

    if (defined $Seed) {
        my ($nonce, $sealed) = unpack 'a12 a*', $d;
        my $tag = substr $sealed, -16, 16, '';
        return gcm_decrypt_verify('AES', key(), $nonce, '', $sealed, $tag);
    }

    my @x = unpack 'C*', $d;
    $x[$_] ^= $x[$_ - 4] for reverse 4 .. $#x;
    my ($sum, $p) = unpack 'a4 a*', pack 'C*', @x;
    return unless length $p > 2 && $sum eq fnv($p);
    return substr $p, 2;
}


sub data {
    my ($conv, $number, $payload, %o) = @_;
    return pack 'n C C N N N n/a*', $conv, DATA, $o{opt} // 0,
                $o{timestamp} // 0, $number, $o{una} // 0, $payload;
}


sub ack {
    my ($conv, $next, $timestamp, @numbers) = @_;
    return pack 'n C C N N N C/N*', $conv, ACK, 0, $next + $Window, $next,
                $timestamp, @numbers;
}


sub command {
    my ($conv, $command, $una, $next) = @_;
    return pack 'n C C N N N', $conv, $command, 0, $una // 0, $next // 0, 100;
}


sub parse {
    my ($p) = @_;
    my @all;

    while (length $p >= 4) {
        my %s;

        if (ord(substr $p, 2, 1) == DATA) {
            @s{qw(conv command opt timestamp number una payload)}
                = unpack 'n C C N N N n/a*', $p;
            substr $p, 0, 18 + length $s{payload}, '';

        } elsif (ord(substr $p, 2, 1) == ACK) {
            my @numbers;
            (@s{qw(conv command opt window next timestamp)}, @numbers)
                = unpack 'n C C N N N C/N*', $p;
            $s{numbers} = \@numbers;
            substr $p, 0, 17 + 4 * @numbers, '';

        } else {
            @s{qw(conv command opt una next rto)} = unpack 'n C C N N N', $p;
            substr $p, 0, 16, '';
        }

        push @all, \%s;
    }

    return @all;
}


sub udp {
    my ($port, $host, $from) = @_;
    return IO::Socket::IP->new(PeerHost => $host // '127.0.0.1',
        PeerPort => $port, Type => SOCK_DGRAM, Proto => 'udp',
        $from ? (LocalHost => $from) : ()) // die "udp: $@\n";
}


sub connect {
    my ($port, $host) = @_;

    socketpair(my $mine, my $child, AF_UNIX, SOCK_STREAM, PF_UNSPEC)
        or die "socketpair: $!";

    my $pid = fork // die "fork: $!";

    if ($pid == 0) {

        # a grandchild, which nobody waits for

        POSIX::_exit(0) if fork;

        $SIG{$_} = 'DEFAULT' for qw(TERM ALRM INT);
        $SIG{PIPE} = 'IGNORE';
        CORE::close $mine;
        alarm 120;
        eval { session($child, udp($port, $host)) };
        POSIX::_exit(0);
    }

    waitpid $pid, 0;
    CORE::close $child;

    bless $mine, 'IO::Socket::UNIX';
    return $mine;
}


sub session {
    my ($local, $udp) = @_;

    my ($conv, $start) = (1 + int rand 65534, time);
    my ($una, $last, $next, $edge) = (0, 0, 0, 32);
    my (%sent, %come, @acks, $stamp, $eof, $ended, $pinged);
    my $now = sub { int((time() - $start) * 1000) };
    my $send = sub { send $udp, seal($_[0]), 0 };

    until ($ended) {
        my $room = !$eof && $last < $edge && $last - $una < 32;
        my $wait = IO::Select->new($udp, $room ? $local : ());

        for my $s ($wait->can_read(0.02)) {
            if ($s == $local) {
                my $n = sysread $local, my $b, 1200;
                if ($n) {
                    $sent{$last++} = [ $b, -1000 ];
                } else {
                    $eof = 1;
                }
                next;
            }

            recv $udp, my $d, 65536, 0;
            my $plain = VMess::KCP::open($d) // die "wrong seal\n";
            my @seg = parse($plain);

            if ($Lost && grep { $_->{command} == DATA } @seg) {
                $Lost--;
                next;
            }

            for (@seg) {
                die "another session\n" if $_->{conv} != $conv;

                if ($_->{command} == DATA) {
                    push @acks, $_->{number};
                    $stamp = $_->{timestamp};
                    $come{$_->{number}} = $_->{payload}
                        if $_->{number} >= $next;

                } elsif ($_->{command} == ACK) {
                    delete @sent{@{ $_->{numbers} }};
                    my $before = $_->{next};
                    delete @sent{grep { $_ < $before } keys %sent};
                    $edge = $_->{window} if $_->{window} > $edge;

                } elsif ($_->{command} == TERMINATE) {
                    $ended = 1;
                }
            }
        }

        while (defined(my $b = delete $come{$next})) {
            $next++;

            while (length $b) {
                my $n = syswrite $local, $b or last;
                substr $b, 0, $n, '';
            }

            $eof = 1 if length $b;
        }

        $una = %sent ? (sort { $a <=> $b } keys %sent)[0] : $last;

        while (my @some = splice @acks, 0, 100) {
            $send->(ack($conv, $next, $stamp, @some));
        }

        for (sort { $a <=> $b } keys %sent) {
            next if $now->() - $sent{$_}[1] < 100;
            $sent{$_}[1] = $now->();
            $send->(data($conv, $_, $sent{$_}[0], una => $una,
                         timestamp => $now->()));
        }

        if ($last && time - ($pinged // 0) > 1) {
            $pinged = time;
            $send->(command($conv, PING, $una, $next));
        }

        $ended = 1 if $eof && !%sent;
    }

    $send->(command($conv, TERMINATE, $una, $next)) unless $Silent;
}


1;
