package VMess::WebSocket;

# The client's end of WebSocket (RFC 6455) and of HTTPUpgrade for the tests,
# sharing nothing with src/.  An object is a handle to read and write data
# with, so it goes where VMess.pm takes a socket, and has methods for what else
# there is to send:
#
#   my $ws = VMess::WebSocket->new($sock, path => '/ray');
#   $ws->head                  status line and headers of the response
#   $ws->put($bytes)           as they are
#   $ws->put($ws->frame($opcode, $payload, %wrong_things))
#   $ws->seen                  control frames that came: [opcode, payload], ...
#
# new() sends the request:
#
#   path, host, key, headers   of the request; headers => [ "Name: value" ]
#   early                      early data
#   early_in                   "path" or the name of a header, by default
#                              Sec-WebSocket-Protocol
#   encoded                    sent for early data in place of its base64url
#   behind                     bytes in the same write as the request
#   upgrade                    HTTPUpgrade: no key, no frames
#   split                      a function: payload to a list of payloads, each
#                              sent as a fragment
#   frame_max                  most bytes of a frame of data

use v5.20;
use strict;
use warnings;

use Carp qw(croak);
use IO::Select;
use MIME::Base64 qw(encode_base64url);
use POSIX ();
use Symbol qw(gensym);
use Time::HiRes qw(time);

our $Timeout = 20;

use constant { CONT => 0, TEXT => 1, BINARY => 2, CLOSE => 8, PING => 9,
               PONG => 10 };


sub request {
    my (%o) = @_;

    my $path = $o{path} // '/ray';
    my @headers = @{ $o{headers} // [] };
    my $in = $o{early_in} // 'Sec-WebSocket-Protocol';

    if (defined $o{early} || defined $o{encoded}) {
        my $text = $o{encoded} // encode_base64url($o{early});
        $in eq 'path' ? ($path .= $text) : push @headers, "$in: $text";
    }

    unshift @headers, 'Sec-WebSocket-Version: 13', 'Sec-WebSocket-Key: '
                      . ($o{key} // 'dGhlIHNhbXBsZSBub25jZQ==')
        unless $o{upgrade};

    return join("\r\n", "GET $path HTTP/1.1",
                'Host: ' . ($o{host} // 'localhost'), 'Upgrade: websocket',
                'Connection: Upgrade', @headers) . "\r\n\r\n";
}


sub new {
    my ($class, $sock, %o) = @_;

    my $self = bless gensym, $sock->can('pending') ? "${class}::TLS" : $class;
    my $h = { %o, sock => $sock, in => '', raw => '', out => '', head => '',
              seen => [], eof => 0 };

    *$self = $h;

    tie *$self, 'VMess::WebSocket::Handle', $h;

    $sock->blocking(0);
    $self->put(request(%o) . ($o{behind} // '')) unless $o{quiet};

    return $self;
}


sub blocking { }
sub h { return *{ $_[0] }{HASH} }
sub seen { return @{ $_[0]->h->{seen} } }


# a frame; wrong things: fin => 0, rsv => bits, mask => 0, form => 7, 16 or 64

sub frame {
    my ($self, $opcode, $payload, %o) = @_;

    my $n = length $payload;
    my $form = $o{form} // ($n < 126 ? 7 : $n < 65536 ? 16 : 64);
    my $masked = ($o{mask} // 1) ? 0x80 : 0;

    my $head = pack('C', (($o{fin} // 1) ? 0x80 : 0) | ($o{rsv} // 0) << 4
                         | $opcode);
    $head .= $form == 7 ? pack('C', $masked | $n)
             : $form == 16 ? pack('C n', $masked | 126, $n)
             : pack('C Q>', $masked | 127, $n);

    return $head . $payload unless $masked;

    my $mask = $o{key} // pack('N', int rand 2 ** 32);
    my $pad = $mask x ($n / 4 + 1);

    return $head . $mask . ($payload ^ substr($pad, 0, $n));
}


# all of the bytes, now

sub put {
    my ($self, $bytes) = @_;
    my $h = $self->h;
    my $limit = time + $Timeout;

    $h->{out} .= $bytes;

    until (VMess::WebSocket::Handle::flush($h)) {
        return 0 if $h->{broken};
        croak 'timed out while writing' if time > $limit;
        IO::Select->new($h->{sock})->can_write(0.05);
    }

    return 1;
}


# the response's head, read as far as its empty line

sub head {
    my ($self) = @_;
    my $h = $self->h;
    my $limit = time + $Timeout;

    while ($h->{head} !~ /\r\n\r\n/ && !$h->{eof}) {
        croak 'timed out while reading a response' if time > $limit;
        VMess::WebSocket::Handle::fill($h)
            or IO::Select->new($h->{sock})->can_read(0.05);
        VMess::WebSocket::Handle::parse($h);
    }

    return $h->{head};
}


sub status { return $_[0]->head =~ m{^HTTP/1\.1 (\d+)} ? $1 : '' }


# data: n bytes, or what comes before the end

sub read {
    my ($self, $n) = @_;
    my $h = $self->h;
    my $all = '';
    my $limit = time + $Timeout;

    while (length $all < $n) {
        my $got = sysread($self, my $b, $n - length $all);
        if (defined $got) {
            last unless $got;
            $all .= $b;
            next;
        }
        croak 'timed out with ' . length($all) . ' bytes' if time > $limit;
        IO::Select->new($h->{sock})->can_read(0.05);
    }

    return $all;
}


# until code is true; data is kept

sub wait {
    my ($self, $code) = @_;
    my $h = $self->h;
    my $limit = time + $Timeout;

    until ($code->()) {
        return 0 if $h->{eof} || time > $limit;
        VMess::WebSocket::Handle::fill($h)
            or IO::Select->new($h->{sock})->can_read(0.05);
        VMess::WebSocket::Handle::parse($h);
    }

    return 1;
}


# to the end of the transport: control frames are seen, data is dropped

sub rest {
    my ($self) = @_;
    $self->wait(sub { 0 });
    return $self->h->{eof};
}


package VMess::WebSocket::TLS;

our @ISA = ('VMess::WebSocket');

sub pending { return 0 }            # marks it for VMess.pm


package VMess::WebSocket::Handle;

use Carp qw(croak);


sub TIEHANDLE { return bless { h => $_[1] }, $_[0] }
sub FILENO { return fileno $_[0]{h}{sock} }


sub CLOSE {
    my ($self) = @_;
    flush($self->{h});
    return CORE::close $self->{h}{sock};
}


# true if all is written

sub flush {
    my ($h) = @_;

    while (length $h->{out}) {
        my $n = syswrite($h->{sock}, $h->{out}, 1 << 16);
        if (!defined $n) {
            $h->{broken} = 1 if $!{EPIPE} || $!{ECONNRESET};
            return 0;
        }
        substr($h->{out}, 0, $n, '');
    }

    return 1;
}


# one frame, or several fragments, of what is given

sub WRITE {
    my ($self, $data, $len, $off) = @_;
    my $h = $self->{h};

    if (!flush($h)) {
        $! = $h->{broken} ? POSIX::EPIPE() : POSIX::EAGAIN();
        return;
    }

    $data = substr($data, $off // 0, $len);
    my $max = $h->{frame_max} // 100_000;
    $data = substr($data, 0, $max);

    if ($h->{upgrade}) {
        $h->{out} = $data;

    } else {
        my @part = $h->{split} ? $h->{split}->($data) : $data;
        my $opcode = $h->{text} ? VMess::WebSocket::TEXT
                                : VMess::WebSocket::BINARY;

        for my $i (0 .. $#part) {
            $h->{out} .= VMess::WebSocket->frame($i ? 0 : $opcode, $part[$i],
                                                 fin => $i == $#part);
            $h->{out} .= $h->{between}->() if $h->{between} && $i < $#part;
        }
    }

    flush($h);

    return length $data;
}


sub READ {
    my ($self, undef, $len, $off) = @_;
    my $h = $self->{h};

    flush($h);
    parse($h);

    if (!length $h->{in}) {
        fill($h);
        parse($h);
    }

    if (length $h->{in}) {
        my $data = substr($h->{in}, 0, $len, '');
        if ($off) { substr($_[1], $off) = $data } else { $_[1] = $data }
        return length $data;
    }

    if ($h->{eof}) {
        $_[1] = '' unless $off;
        return 0;
    }

    $! = POSIX::EAGAIN();
    return;
}


# true if something came

sub fill {
    my ($h) = @_;

    return 1 if $h->{eof};

    my $n = sysread($h->{sock}, my $b, 1 << 17);

    if (defined $n) {
        $n ? ($h->{raw} .= $b) : ($h->{eof} = 1);
        return 1;
    }

    if ($!{ECONNRESET} || $!{EPIPE}) {
        @$h{qw(eof reset)} = (1, 1);
        return 1;
    }

    return 0;
}


sub parse {
    my ($h) = @_;

    if ($h->{head} !~ /\r\n\r\n/) {
        $h->{raw} =~ s/^(.*?\r\n\r\n)//s or return;
        $h->{head} = $1;
    }

    # what is no answer of ours is left in raw

    return unless $h->{head} =~ m{^HTTP/1\.1 101 };

    if ($h->{upgrade}) {
        $h->{in} .= $h->{raw};
        $h->{raw} = '';
        return;
    }

    while (length $h->{raw} >= 2) {
        my ($b0, $b1) = unpack('C2', $h->{raw});
        my ($n, $size) = ($b1 & 0x7f, 2);

        if ($n == 126) {
            return if length $h->{raw} < 4;
            ($n, $size) = (unpack('x2 n', $h->{raw}), 4);
            croak 'a length in too many bytes' if $n < 126;

        } elsif ($n == 127) {
            return if length $h->{raw} < 10;
            ($n, $size) = (unpack('x2 Q>', $h->{raw}), 10);
            croak 'a length in too many bytes' if $n < 65536;
        }

        croak 'a masked frame' if $b1 & 0x80;
        croak 'reserved bits' if $b0 & 0x70;

        # data is taken before its frame is whole

        my $op = $b0 & 0x0f;
        croak "a frame of type $op" unless $op <= 2 || $op >= 8 && $op <= 10;
        croak 'a frame after the close' if $h->{closed};
        return if length $h->{raw} < $size + $n;

        $h->{largest} = $n if $n > ($h->{largest} // 0);
        substr($h->{raw}, 0, $size, '');
        my $payload = substr($h->{raw}, 0, $n, '');

        if ($op < 8) {
            $h->{in} .= $payload;
            next;
        }

        croak 'a bad control frame' if $n > 125 || !($b0 & 0x80);
        push @{ $h->{seen} }, [ $op, $payload ];
        $h->{closed} = 1 if $op == 8;
    }
}


1;
