package VMess::HTTP2;

# The client's end of HTTP/2 (RFC 9113) for the tests, sharing nothing with
# src/.  One thread, many streams, and nothing that the test did not ask for:
#
#   my $c = VMess::HTTP2->new($sock)      plain or TLS with ALPN h2
#   my $s = $c->request('PUT', '/x', headers => [ name => value, ... ])
#   $s->send($data), $s->end, $s->reset
#   $s->status, $s->header('name')        wait for the response's header
#   $s->read($n), $s->rest, $s->trailers
#   $c->ping, $c->put($c->frame(...)), $c->{goaway}
#
# A stream is a handle to read and write data with, so it goes where VMess.pm
# takes a socket.  What breaks the protocol is fatal: frames in a wrong order,
# data beyond a window.  While $c->{cork} is set nothing is sent.
#
# new():
#
#   window        of each stream; 1 MB unless told
#   give          0: windows of streams grow by $s->give($n) alone
#   connection    window of the connection, 0 is 65535; by default all there is
#   settings      [ id => value, ... ], further ones
#
# request(): authority, scheme, headers; data, end of the request, raw => all
# pairs of the header in place of ours; and for the stream
#
#   codec         an object with encode($data) and decode(\$bytes): what the
#                 handle's data looks like inside of DATA frames
#   frame_max     most bytes of a DATA frame
#   split         a function: a payload to a list of payloads
#   pad           bytes of padding in each DATA frame

use v5.20;
use strict;
use warnings;

use Carp qw(croak);
use IO::Select;
use POSIX ();
use Scalar::Util qw(weaken);
use Symbol qw(gensym);
use Time::HiRes qw(time);
use VMess;
use VMess::HPACK;

use constant { DATA => 0, HEADERS => 1, PRIORITY => 2, RST_STREAM => 3,
               SETTINGS => 4, PUSH_PROMISE => 5, PING => 6, GOAWAY => 7,
               WINDOW_UPDATE => 8, CONTINUATION => 9 };
use constant { END_STREAM => 1, ACK => 1, END_HEADERS => 4, PADDED => 8,
               FLAG_PRIORITY => 32 };
use constant { NO_ERROR => 0, PROTOCOL_ERROR => 1, INTERNAL_ERROR => 2,
               REFUSED_STREAM => 7, CANCEL => 8 };

my $most = 2 ** 31 - 1;


sub frame {
    my ($self, $type, $flags, $id, $payload) = @_;
    $payload //= '';
    return substr(pack('N', length $payload), 1)
           . pack('C C N', $type, $flags, $id) . $payload;
}


sub new {
    my ($class, $sock, %o) = @_;

    my $window = $o{window} // 1 << 20;
    my $connection = $o{connection} // $most;

    my $self = bless {
        sock => $sock, in => '', out => '', eof => 0, next => 1,
        hpack => VMess::HPACK->new,
        streams => {},                  # weak: who drops one, ignores it
        window => $window,
        give => $o{give} // 1,
        give_connection => !defined $o{connection},
        left => 65535,                  # the server may still send
        send_window => 65535,
        initial => 65535,               # of the server's settings
        frame_max => 16384,
        pings => 0,
    }, $class;

    $sock->blocking(0);

    # no push
    my @settings = (2 => 0, 4 => $window, @{ $o{settings} // [] });
    my $payload = '';
    while (my ($id, $value) = splice @settings, 0, 2) {
        $payload .= pack 'n N', $id, $value;
    }

    $self->put("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
               . $self->frame(SETTINGS, 0, 0, $payload));
    $self->give($connection - 65535) if $connection > 65535;

    return $self;
}


# what the server may send on the connection, besides what streams may

sub give {
    my ($self, $n) = @_;
    $self->{left} += $n;
    $self->put($self->frame(WINDOW_UPDATE, 0, 0, pack 'N', $n));
}


# all of the bytes, now

sub put {
    my ($self, $bytes) = @_;

    $self->{out} .= $bytes;
    $self->run(sub { $self->{broken} || !length $self->{out} });
    return !$self->{broken};
}


# Moves bytes both ways until code is true.  0 if the connection ended before,
# fatal if neither comes in time.

sub run {
    my ($self, $code) = @_;

    my $limit = time + $VMess::Timeout;

    until ($code->()) {
        return 1 if $self->{cork};
        next if $self->turn;
        return 0 if $self->{eof};
        croak 'timed out in HTTP/2' if time > $limit;
        $self->sleep(0.05);
    }

    return 1;
}


sub sleep {
    my ($self, $seconds) = @_;
    my $set = IO::Select->new($self->{sock});
    IO::Select->select($set, length $self->{out} ? $set : undef, undef,
                       $seconds);
}


# writes what can be written, reads what is there: true if anything moved

sub turn {
    my ($self) = @_;

    my $moved = 0;

    while (length $self->{out} && !$self->{broken} && !$self->{cork}) {
        my $n = syswrite $self->{sock}, $self->{out}, 1 << 16;
        if (!defined $n) {
            $self->{broken} = 1 if $!{EPIPE} || $!{ECONNRESET};
            last;
        }
        substr($self->{out}, 0, $n, '');
        $moved = 1;
    }

    # windows bound what comes

    until ($self->{eof}) {
        my $n = sysread $self->{sock}, my $b, 1 << 17;
        if (!defined $n) {
            last unless $!{ECONNRESET} || $!{EPIPE};
            @$self{qw(reset eof)} = (1, 1);
            last;
        }
        $moved = 1;
        $n ? ($self->{in} .= $b) : ($self->{eof} = 1);
        $self->parse;
    }

    return $moved;
}


# ---- frames that come

sub parse {
    my ($self) = @_;

    while (length $self->{in} >= 9) {
        my ($high, $n, $type, $flags, $id) = unpack 'C n C C N', $self->{in};
        $n |= $high << 16;
        croak "HTTP/2: a frame of $n bytes: "
              . substr $self->{in}, 0, 100 if $n > 16384;
        last if length $self->{in} < 9 + $n;

        my $payload = substr $self->{in}, 9, $n;
        substr($self->{in}, 0, 9 + $n, '');

        croak 'HTTP/2: no SETTINGS at first'
            if !$self->{settled}++ && $type != SETTINGS;
        croak "HTTP/2: frame $type inside of a header"
            if $self->{block} && $type != CONTINUATION;

        push @{ $self->{seen} }, [$type, $flags, $id, $n] if $self->{seen};

        my $handler = (\&data, \&headers, sub { }, \&rst, \&settings, undef,
                       \&pinged, \&goaway, \&window_update,
                       \&continuation)[$type]
            // croak "HTTP/2: a frame of type $type";
        $self->$handler($flags, $id, $payload);
    }
}


# the stream of a frame: undef when the test has dropped it, or reset it

sub stream {
    my ($self, $id) = @_;
    croak "HTTP/2: a frame of stream $id"
        if !$id || !($id & 1) || $id >= $self->{next};
    my $s = $self->{streams}{$id} // return;
    return if $s->{cancelled};
    croak "HTTP/2: a frame of stream $id, which is closed"
        if defined $s->{rst};
    return $s;
}


sub unpad {
    my ($flags, $payload) = @_;
    return $payload unless $flags & PADDED;
    my $pad = ord substr $payload, 0, 1, '';
    croak 'HTTP/2: too much padding' if $pad > length $payload;
    return substr $payload, 0, length($payload) - $pad;
}


sub data {
    my ($self, $flags, $id, $payload) = @_;

    my $s = $self->stream($id);
    my $n = length $payload;

    $self->{left} -= $n;
    croak 'HTTP/2: beyond the window of the connection' if $self->{left} < 0;
    if ($n && $self->{give_connection} && $self->{left} < $most / 2) {
        my $more = $most - $self->{left};
        $self->{left} += $more;
        $self->{out} .= $self->frame(WINDOW_UPDATE, 0, 0, pack 'N', $more);
    }

    return unless $s;

    $s->{left} -= $n;
    croak "HTTP/2: beyond the window of stream $id" if $s->{left} < 0;
    croak "HTTP/2: data of stream $id at a wrong time"
        if !$s->{head} || $s->{ended};

    $s->{frames}++;
    $s->{bytes} += $n;
    $payload = unpad($flags, $payload);
    $s->{unread} += $n - length $payload;

    if ($s->{codec}) {
        $s->{raw} .= $payload;
        $s->{unread} += length $payload;
        $s->{in} .= $s->{codec}->decode(\$s->{raw});
        VMess::HTTP2::Handle::replenish($s);
    } else {
        $s->{in} .= $payload;
    }

    $s->{ended} = 1 if $flags & END_STREAM;
}


sub headers {
    my ($self, $flags, $id, $payload) = @_;

    $payload = unpad($flags, $payload);
    substr($payload, 0, 5, '') if $flags & FLAG_PRIORITY;
    $self->{block} = [$flags, $id, $payload];
    $self->header_block if $flags & END_HEADERS;
}


sub continuation {
    my ($self, $flags, $id, $payload) = @_;

    my $block = $self->{block} // croak 'HTTP/2: a continuation of nothing';
    croak 'HTTP/2: a continuation of another' if $block->[1] != $id;
    $block->[2] .= $payload;
    $self->header_block if $flags & END_HEADERS;
}


sub header_block {
    my ($self) = @_;

    my ($flags, $id, $payload) = @{ delete $self->{block} };
    my $pairs = $self->{hpack}->decode($payload);
    my $s = $self->stream($id) // return;

    croak "HTTP/2: a header of stream $id after its end" if $s->{ended};

    for (my $i = 0; $i < @$pairs; $i += 2) {
        croak "HTTP/2: name \"$pairs->[$i]\"" if $pairs->[$i] =~ /[A-Z]/;
        croak "HTTP/2: pseudo-header $pairs->[$i]"
            if $pairs->[$i] =~ /^:/ && ($i || $s->{head});
    }

    if ($s->{head}) {
        croak 'HTTP/2: trailers without the end' unless $flags & END_STREAM;
        $s->{trailers} = $pairs;

    } else {
        croak 'HTTP/2: a response without :status' if $pairs->[0] ne ':status';

        # an interim response is followed by another
        $s->{head} = $pairs if $pairs->[1] >= 200;
    }

    $s->{ended} = 1 if $flags & END_STREAM;
}


sub rst {
    my ($self, $flags, $id, $payload) = @_;
    my $s = $self->stream($id) // return;
    $s->{rst} = unpack 'N', $payload;
}


sub settings {
    my ($self, $flags, $id, $payload) = @_;

    return if $flags & ACK;

    for (my $i = 0; $i < length $payload; $i += 6) {
        my ($id, $value) = unpack 'n N', substr $payload, $i, 6;
        $self->{server}{$id} = $value;
        $self->{frame_max} = $value if $id == 5;
        next unless $id == 4;
        $_->{send_window} += $value - $self->{initial}
            for grep { $_ } values %{ $self->{streams} };
        $self->{initial} = $value;
    }

    $self->{out} .= $self->frame(SETTINGS, ACK, 0);
}


sub pinged {
    my ($self, $flags, $id, $payload) = @_;
    croak 'HTTP/2: a bad PING' if length $payload != 8 || $id;
    $flags & ACK ? $self->{pings}++
                 : ($self->{out} .= $self->frame(PING, ACK, 0, $payload));
}


sub goaway {
    my ($self, $flags, $id, $payload) = @_;
    my ($last, $code) = unpack 'N N', $payload;
    $self->{goaway} = { last => $last, code => $code };
}


sub window_update {
    my ($self, $flags, $id, $payload) = @_;
    my $n = unpack 'N', $payload;
    croak 'HTTP/2: a bad WINDOW_UPDATE' if !$n || length $payload != 4;
    my $to = $id ? $self->stream($id) : $self;
    return unless $to;
    $to->{send_window} += $n;
    croak "HTTP/2: a window of $to->{send_window}"
        if $to->{send_window} > $most;
}


# ---- requests

sub request {
    my ($self, $method, $path, %o) = @_;

    my $id = $self->{next};
    $self->{next} += 2;

    my $pairs = $o{raw} // [
        ':method' => $method, ':path' => $path,
        ':scheme' => $o{scheme} // ($self->{sock}->can('pending') ? 'https'
                                                                  : 'http'),
        ':authority' => $o{authority} // 'localhost',
        @{ $o{headers} // [] } ];
    my $block = VMess::HPACK::encode($pairs);
    my $only = $o{end} && !length($o{data} // '');

    my $s = VMess::HTTP2::Stream->open($self, $id, %o);

    # the data in the same write as the header, as far as windows let it

    my $flags = $only ? END_STREAM : 0;
    my $type = HEADERS;
    while (length $block > 16384) {
        $self->{out} .= $self->frame($type, $flags, $id,
                                     substr $block, 0, 16384, '');
        ($type, $flags) = (CONTINUATION, 0);
    }
    $self->{out} .= $self->frame($type, $flags | END_HEADERS, $id, $block);

    if ($only) {
        $s->h->{sent_end} = 1;
        $self->put('');
    } else {
        $s->send($o{data} // '', end => $o{end});
    }

    return $s;
}


sub ping {
    my ($self) = @_;
    my $n = $self->{pings};
    $self->{out} .= $self->frame(PING, 0, 0, pack 'N2', $n, int rand 2 ** 31);
    return $self->run(sub { $self->{pings} > $n });
}


# until the server closes the connection

sub rest {
    my ($self) = @_;
    return $self->run(sub { $self->{eof} });
}


sub close { CORE::close $_[0]{sock} }


# ---- a stream

package VMess::HTTP2::Stream;

use Carp qw(croak);
use Scalar::Util qw(weaken);
use Symbol qw(gensym);
use Time::HiRes qw(time);


sub open {
    my ($class, $c, $id, %o) = @_;

    my $self = bless gensym, $class;
    my $h = { %o{qw(codec frame_max split pad)}, c => $c, id => $id, in => '',
              raw => '', wait => '', left => $c->{window}, unread => 0,
              frames => 0, bytes => 0, ended => 0,
              send_window => $c->{initial} };

    *$self = $h;
    tie *$self, 'VMess::HTTP2::Handle', $h;

    $c->{streams}{$id} = $h;
    weaken $c->{streams}{$id};

    return $self;
}


sub blocking { }
sub h { return *{ $_[0] }{HASH} }
sub ended { return $_[0]->h->{ended} }
sub rst { return $_[0]->h->{rst} }


# all of the data, as far as the stream lives; end => 1 ends the request

sub send {
    my ($self, $data, %o) = @_;
    my $h = $self->h;

    $h->{wait} .= $h->{codec} ? $h->{codec}->encode($data) : $data
        if length $data;
    return $self->put('', %o);
}


# bytes as they are, without the codec

sub put {
    my ($self, $bytes, %o) = @_;
    my $h = $self->h;

    $h->{wait} .= $bytes;
    $h->{end} = 1 if $o{end};
    $h->{c}->run(sub { VMess::HTTP2::Handle::flush($h);
                       !length $h->{c}{out} && !length $h->{wait}
                       || VMess::HTTP2::Handle::gone($h) });
    return !VMess::HTTP2::Handle::gone($h);
}


sub end { return $_[0]->put('', end => 1) }


# data that the server may not take: how much it did not until nothing moved
# for some time; that stays to be sent

sub offer {
    my ($self, $data, $seconds) = @_;
    my $h = $self->h;
    my $c = $h->{c};

    $h->{wait} .= $h->{codec} ? $h->{codec}->encode($data) : $data;

    my ($left, $last, $since) = (0, -1, 0);

    while (!VMess::HTTP2::Handle::gone($h)) {
        VMess::HTTP2::Handle::flush($h);
        $c->turn;
        $left = length($h->{wait}) + length $c->{out};
        last if !$left;
        ($last, $since) = ($left, time) if $left != $last;
        last if time - $since > $seconds;
        $c->sleep(0.01);
    }

    return $left;
}


sub reset {
    my ($self, $code) = @_;
    my $h = $self->h;

    return if $h->{cancelled}++ || defined $h->{rst};
    return $h->{c}->put($h->{c}->frame(VMess::HTTP2::RST_STREAM, 0, $h->{id},
                                       pack 'N',
                                       $code // VMess::HTTP2::CANCEL));
}


# opens the window of the stream

sub give {
    my ($self, $n) = @_;
    my $h = $self->h;
    $h->{left} += $n;
    return $h->{c}->put($h->{c}->frame(VMess::HTTP2::WINDOW_UPDATE, 0, $h->{id},
                                       pack 'N', $n));
}


# until code is true or nothing more comes on the stream

sub wait {
    my ($self, $code) = @_;
    my $h = $self->h;
    my $ok;
    $h->{c}->run(sub { ($ok = $code->()) || $h->{ended} || defined $h->{rst} });
    return $ok ? 1 : 0;
}


# the response's header: a reference to a hash, empty if there was none

sub headers {
    my ($self) = @_;
    my $h = $self->h;
    $self->wait(sub { $h->{head} });
    return { @{ $h->{head} // [] } };
}


sub status { return $_[0]->headers->{':status'} // '' }
sub header { return $_[0]->headers->{ $_[1] } }


# n bytes of data, or what comes before the end

sub read {
    my ($self, $n) = @_;
    my $h = $self->h;
    my $all = '';

    while (length $all < $n) {
        $self->wait(sub { length $h->{in} });
        my $got = VMess::HTTP2::Handle::take($h, $n - length $all);
        last if $got eq '';
        $all .= $got;
    }

    return $all;
}


# what comes until the response's end

sub rest { return $_[0]->read(1 << 40) }


# pairs of the trailers as a hash, after the end

sub trailers {
    my ($self) = @_;
    my $h = $self->h;
    $self->wait(sub { $h->{ended} });
    return { @{ $h->{trailers} // [] } };
}


package VMess::HTTP2::Handle;

use Time::HiRes qw(time);


sub TIEHANDLE { return bless { h => $_[1] }, $_[0] }
sub FILENO { return fileno $_[0]{h}{c}{sock} }


# a client that leaves: what is not over yet is cancelled

sub CLOSE {
    my ($self) = @_;
    my $h = $self->{h};

    if (!defined $h->{rst} && !$h->{cancelled}
        && !($h->{ended} && $h->{sent_end}))
    {
        $h->{cancelled} = 1;
        $h->{c}->put($h->{c}->frame(VMess::HTTP2::RST_STREAM, 0, $h->{id},
                                    pack 'N', VMess::HTTP2::CANCEL));
    }

    return 1;
}


# nothing more can be sent

sub gone {
    my ($h) = @_;
    return $h->{c}{eof} || $h->{c}{broken} || defined $h->{rst}
           || $h->{cancelled};
}


# what waits on this stream becomes frames, as far as windows let it

sub flush {
    my ($h) = @_;
    my $c = $h->{c};

    return if gone($h) || $h->{sent_end};

    while (length $h->{wait} && length $c->{out} < 1 << 17) {
        my $extra = $h->{pad} ? $h->{pad} + 1 : 0;
        my $max = $h->{frame_max} // 16384;
        $_ < $max and $max = $_
            for $h->{send_window} - $extra, $c->{send_window} - $extra,
                $c->{frame_max} - $extra;
        last if $max <= 0;

        my $data = substr $h->{wait}, 0, $max, '';
        my $last = $h->{end} && !length $h->{wait};
        my @part = $h->{split} ? $h->{split}->($data) : $data;

        for my $i (0 .. $#part) {
            my $p = $part[$i];
            my $flags = $last && $i == $#part ? VMess::HTTP2::END_STREAM : 0;
            if ($h->{pad}) {
                $p = chr($h->{pad}) . $p . "\0" x $h->{pad};
                $flags |= VMess::HTTP2::PADDED;
            }
            $c->{out} .= $c->frame(VMess::HTTP2::DATA, $flags, $h->{id}, $p);
            $h->{send_window} -= length $p;
            $c->{send_window} -= length $p;
        }
        $h->{sent_end} = 1 if $last;
    }

    if ($h->{end} && !length $h->{wait} && !$h->{sent_end}) {
        $c->{out} .= $c->frame(VMess::HTTP2::DATA, VMess::HTTP2::END_STREAM,
                               $h->{id});
        $h->{sent_end} = 1;
    }
}


# data for the test, which opens the window as it is taken

sub take {
    my ($h, $n) = @_;

    my $data = substr $h->{in}, 0, $n, '';
    $h->{unread} += length $data unless $h->{codec};
    replenish($h);
    return $data;
}


sub replenish {
    my ($h) = @_;

    my ($c, $n) = @$h{qw(c unread)};

    return if !$c->{give} || $n < $c->{window} / 2 || !$n || length $h->{in}
              || $h->{ended} || gone($h);

    $h->{unread} = 0;
    $h->{left} += $n;
    $c->{out} .= $c->frame(VMess::HTTP2::WINDOW_UPDATE, 0, $h->{id},
                           pack 'N', $n);
}


sub WRITE {
    my ($self, $data, $len, $off) = @_;
    my $h = $self->{h};
    my $c = $h->{c};

    if (gone($h)) {
        $! = POSIX::EPIPE();
        return;
    }

    $c->turn;
    flush($h);

    if (length $h->{wait} || length $c->{out}) {
        $c->turn or $c->sleep(0.01);
        flush($h);
    }

    if (length $h->{wait} || length $c->{out}) {
        $! = POSIX::EAGAIN();
        return;
    }

    $data = substr $data, $off // 0, $len > 100_000 ? 100_000 : $len;
    $h->{wait} = $h->{codec} ? $h->{codec}->encode($data) : $data;
    flush($h);
    $c->turn;

    return length $data;
}


sub READ {
    my ($self, undef, $len, $off) = @_;
    my $h = $self->{h};

    # what could not be written yet must be, before the caller waits for data

    my $limit = time + $VMess::Timeout;

    while (!length $h->{in}) {
        $h->{c}->turn;
        flush($h);
        last if !length $h->{wait} && !length $h->{c}{out} || gone($h)
                || time > $limit;
        $h->{c}->turn || length $h->{in} or $h->{c}->sleep(0.05);
    }

    if (length $h->{in}) {
        my $data = take($h, $len);
        if ($off) { substr($_[1], $off) = $data } else { $_[1] = $data }
        return length $data;
    }

    if ($h->{ended} || defined $h->{rst} || $h->{c}{eof} || $h->{cancelled}) {
        $_[1] = '' unless $off;
        return 0;
    }

    $! = POSIX::EAGAIN();
    return;
}


1;
