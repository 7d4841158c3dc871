package VMess::XHTTP;

# The client's end of XHTTP for the tests, sharing nothing with src/.  An
# object is a handle to read and write data with, so it goes where VMess.pm
# takes a socket:
#
#   my $x = VMess::XHTTP->new(connect => sub { ... }, mode => 'packet-up')
#
# connect gives a connection: a new VMess::XHTTP::H1, or a VMess::HTTP2, which
# may be the same each time.  Further options:
#
#   mode          packet-up, stream-up, stream-one
#   path          the base path, by default /x/
#   sid           of the session, by default a new one
#   padding       bytes of it, 0 is none; 200 unless told
#   padding_in    "query", by default the Referer
#   headers       [ name => value, ... ], further ones of each request
#   late          no GET until $x->get
#   packet        most bytes of a packet
#   shuffle       that many packets are sent in a random order
#   fresh         each request has a new connection
#   open          most packets without an answer at once
#   chunked       packets without a Content-Length
#
# and by hand: $x->get, $x->post($seq, $data, ...), $x->stream($method).  Those
# return the request, see VMess::XHTTP::H1 and VMess::HTTP2.

use v5.20;
use strict;
use warnings;

use Carp qw(croak);
use POSIX ();
use Scalar::Util qw(weaken);
use Symbol qw(gensym);
use Time::HiRes qw(sleep time);
use VMess;


my $last_sid = 0;


sub new {
    my ($class, %o) = @_;

    my $self = bless gensym, $class;
    my $h = { mode => 'packet-up', path => '/x/', padding => 200,
              packet => 50_000, open => 8, shuffle => 1, seq => 0,
              sid => sprintf('%08x-%x-%x', rand 2 ** 32, $$, ++$last_sid),
              %o, idle => [], posts => [], held => [], out => '' };

    *$self = $h;
    tie *$self, 'VMess::XHTTP::Handle', $h;
    weaken($h->{self} = $self);

    $self->get unless $h->{late} || $h->{mode} eq 'stream-one';

    if ($h->{mode} eq 'stream-up') {
        $h->{up} = $self->stream;

    } elsif ($h->{mode} eq 'stream-one') {
        $h->{down} = $h->{up} = $self->stream;
    }

    return $self;
}


# VMess.pm looks at several connections by looking often

sub pending { return 0 }
sub blocking { }
sub h { return *{ $_[0] }{HASH} }
sub sid { return $_[0]->h->{sid} }
sub down { return $_[0]->h->{down} }
sub up { return $_[0]->h->{up} }


# the statuses of packets that have been answered, but for 200

sub bad { return @{ $_[0]->h->{bad} // [] } }


# path and headers of a request: padding => n, padding_in and headers instead of
# those of the session

sub target {
    my ($self, $rest, %o) = @_;
    my $h = $self->h;

    my ($n, $in) = map { $o{$_} // $h->{$_} // '' } qw(padding padding_in);
    my $path = $h->{path} . $rest;
    my @headers = @{ $o{headers} // $h->{headers} // [] };
    my $padding = 'x_padding=' . 'X' x $n;

    $in eq 'query' ? ($path .= "?$padding")
                   : push @headers, 'referer', "https://localhost$path?$padding"
        if $n;

    return ($path, \@headers);
}


sub connection {
    my ($self) = @_;
    my $h = $self->h;

    while (my $c = shift @{ $h->{idle} }) {
        return $c unless $c->{eof} || $c->{broken};
    }

    return $h->{connect}->();
}


sub request {
    my ($self, $method, $rest, %o) = @_;

    my $c = delete $o{via} // $self->connection;
    my ($path, $headers) = $self->target($rest, %o);

    push @$headers, 'content-length' => delete $o{length}
        if defined $o{length} && !$c->isa('VMess::XHTTP::H1');

    return $c->request($method, $path, %o, headers => $headers);
}


# the download

sub get {
    my ($self, %o) = @_;
    return $self->h->{down} = $self->request(GET => $self->h->{sid}, end => 1,
                                             %o);
}


# a packet; chunked => 1 for no length, partial => 1 if data is not all of it,
# for which length => n is needed

sub post {
    my ($self, $seq, $data, %o) = @_;
    my $h = $self->h;

    my $chunked = delete $o{chunked} // $h->{chunked};
    $o{length} //= length $data unless $chunked;

    return $self->request(delete $o{method} // 'POST', "$h->{sid}/$seq",
                          data => $data, end => !delete $o{partial}, %o);
}


# a request whose body goes on: stream-up, or stream-one

sub stream {
    my ($self, %o) = @_;
    my $h = $self->h;

    return $self->request(delete $o{method} // 'POST',
                          $h->{mode} eq 'stream-one' ? '' : $h->{sid},
                          data => '', %o);
}


# the whole upload, as far as it was given, is sent and was answered

sub sent {
    my ($self) = @_;
    my $h = $self->h;
    my $limit = time + $VMess::Timeout;

    until (VMess::XHTTP::Handle::flush($h) && !@{ $h->{posts} }) {
        return 0 if $h->{broken};
        croak 'timed out, ' . @{ $h->{posts} } . ' packets wait'
            if time > $limit;
        sleep 0.002;
    }

    return 1;
}


# the client leaves

sub leave { return CORE::close $_[0] }


package VMess::XHTTP::Handle;

use List::Util qw(shuffle);


sub TIEHANDLE { return bless { h => $_[1] }, $_[0] }


sub FILENO {
    my $down = $_[0]{h}{down} // return;
    return fileno $down->h->{c}{sock};
}


# VMess::HTTP2 does not close connections by itself

sub CLOSE {
    my ($self) = @_;
    my $h = $self->{h};

    CORE::close $_ for grep { $_ } $h->{down}, $h->{up};
    CORE::close $_ for @{ $h->{posts} };
    $_->isa('VMess::XHTTP::H1') && $_->close for @{ $h->{idle} };

    return 1;
}


# moves the bytes of a request

sub move {
    my $s = $_[0]->h;
    VMess::HTTP2::Handle::flush($s) if $s->{c}->isa('VMess::HTTP2');
    $s->{c}->turn;
}


# what was answered leaves; packets that wait are sent if there is room

sub reap {
    my ($h) = @_;
    my @left;

    for my $s (@{ $h->{posts} }) {
        my $p = $s->h;
        move($s);

        if (!$p->{ended} && !$p->{c}{eof} && !defined $p->{rst}) {
            push @left, $s;
            next;
        }

        my $status = $p->{ended} && $p->{head} ? { @{ $p->{head} } }->{':status'}
                                               : 'none';
        push @{ $h->{bad} }, $status if $status ne '200';
        $h->{broken} = 1 if $status ne '200';
        push @{ $h->{idle} }, $p->{c} if $p->{ended} && !$h->{fresh}
            && $p->{c}->isa('VMess::XHTTP::H1') && !$p->{closes};
    }

    $h->{posts} = \@left;
}


# true if nothing waits to be sent

sub flush {
    my ($h) = @_;

    reap($h);

    while (@{ $h->{held} } && @{ $h->{posts} } < $h->{open}) {
        my ($seq, $data) = @{ shift @{ $h->{held} } };
        push @{ $h->{posts} }, $h->{self}->post($seq, $data);
    }

    return !@{ $h->{held} };
}


sub packet {
    my ($h) = @_;
    push @{ $h->{next} }, [ $h->{seq}++, substr $h->{out}, 0, $h->{packet}, '' ];
}


# all that was given becomes packets

sub cut {
    my ($h, $all) = @_;

    while (length $h->{out} >= $h->{packet} || $all && length $h->{out}) {
        packet($h);
    }

    if (@{ $h->{next} // [] } >= $h->{shuffle} || $all && $h->{next}) {
        push @{ $h->{held} }, shuffle @{ delete $h->{next} };
    }
}


sub WRITE {
    my ($self, $data, $len, $off) = @_;
    my $h = $self->{h};

    $data = substr $data, $off // 0, $len;

    return length $data if $h->{broken};

    if ($h->{up}) {
        $h->{down}->h->{c}->turn if $h->{down} && $h->{down} != $h->{up};
        return syswrite $h->{up}, $data;
    }

    if (!flush($h)) {
        Time::HiRes::sleep(0.001);
        $! = POSIX::EAGAIN();
        return;
    }

    # a write is a packet, unless packets are to be shuffled

    $data = substr $data, 0, $h->{packet} * $h->{shuffle};
    $h->{out} .= $data;
    cut($h, $h->{shuffle} == 1);
    flush($h);

    return length $data;
}


sub READ {
    my ($self, undef, $len, $off) = @_;
    my $h = $self->{h};

    if ($h->{up}) {
        move($h->{up});

    } else {
        cut($h, 1);
        flush($h);
    }

    if (!$h->{down}) {
        $! = POSIX::EAGAIN();
        return;
    }

    my $data;
    my $n = sysread $h->{down}, $data, $len;
    return $n unless $n;

    if ($off) { substr($_[1], $off) = $data } else { $_[1] = $data }
    return $n;
}


# ---- HTTP/1.1, with requests of the form of VMess::HTTP2
#
#   my $c = VMess::XHTTP::H1->new($sock)
#   my $s = $c->request('POST', '/x', headers => [ name => value, ... ],
#                       data => $bytes, length => $n, end => 1)
#
# A request without a length and without an end is chunked.  Requests are sent
# and answered in their order; split => a function cuts data into chunks.
# While $c->{cork} is set nothing is sent.

package VMess::XHTTP::H1;

use Carp qw(croak);
use IO::Select;
use POSIX ();
use Time::HiRes qw(time);


sub new {
    my ($class, $sock) = @_;
    $sock->blocking(0);
    return bless { sock => $sock, in => '', out => '', queue => [] }, $class;
}


sub turn {
    my ($self) = @_;

    my $moved = 0;

    while (length $self->{out} && !$self->{broken} && !$self->{cork}) {
        my $n = syswrite $self->{sock}, $self->{out}, 1 << 17;
        if (!defined $n) {
            $self->{broken} = 1 if $!{EPIPE} || $!{ECONNRESET};
            last;
        }
        substr($self->{out}, 0, $n, '');
        $moved = 1;
    }

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


sub run {
    my ($self, $code) = @_;
    my $limit = time + $VMess::Timeout;

    until ($code->()) {
        next if $self->turn;
        return 0 if $self->{eof};
        croak 'timed out in HTTP/1.1' if time > $limit;
        my $set = IO::Select->new($self->{sock});
        IO::Select->select($set, length $self->{out} ? $set : undef, undef,
                           0.05);
    }

    return 1;
}


sub close {
    my ($self) = @_;
    $self->{eof} = 1;
    $self->{queue} = [];
    return CORE::close $self->{sock};
}


sub parse {
    my ($self) = @_;

    while (my $h = $self->{queue}[0]) {

        if (!$h->{head}) {
            $self->{in} =~ s/^(.*?)\r\n\r\n//s or last;
            my ($line, @lines) = split /\r\n/, $1;
            $line =~ m{^HTTP/1\.1 (\d{3})} or croak "HTTP/1.1: $line";
            next if $1 < 200;

            my %head = (':status' => $1);
            for (@lines) {
                my ($name, $value) = /^([^:\s]+): ?(.*)$/
                    or croak "HTTP/1.1: a header $_";
                croak "HTTP/1.1: $name twice" if exists $head{lc $name};
                $head{lc $name} = $value;
            }

            $h->{head} = [ %head ];
            $h->{closes} = ($head{connection} // '') eq 'close';
            $h->{chunks} = 1 if exists $head{'transfer-encoding'};
            croak 'HTTP/1.1: a length and chunks'
                if $h->{chunks} && exists $head{'content-length'};
            $h->{left} = $h->{method} eq 'HEAD' || $1 == 204 || $1 == 304 ? 0
                         : $head{'content-length'};
        }

        if ($h->{chunks}) {
            last unless $self->chunk($h);

        } else {
            my $n = $h->{left} // length $self->{in};
            my $data = substr $self->{in}, 0, $n, '';
            $h->{in} .= $data;
            $h->{left} -= length $data if defined $h->{left};
            last unless defined $h->{left} ? !$h->{left} : $self->{eof};
        }

        $h->{ended} = 1;
        shift @{ $self->{queue} };
    }
}


# true when the last one was seen

sub chunk {
    my ($self, $h) = @_;

    for ( ;; ) {
        if ($h->{rest}) {
            my $data = substr $self->{in}, 0, $h->{rest}, '';
            $h->{in} .= $data;
            return 0 if $h->{rest} -= length $data;
            $h->{crlf} = 1;
        }
        if ($h->{crlf}) {
            return 0 if length $self->{in} < 2;
            substr($self->{in}, 0, 2, '') eq "\r\n"
                or croak 'HTTP/1.1: no CRLF behind a chunk';
            $h->{crlf} = 0;
        }
        return 1 if $h->{last};
        return 0 unless $self->{in} =~ s/^(.*?)\r\n//s;
        my $size = $1;
        $size =~ /^[0-9a-f]+$/i or croak "HTTP/1.1: a chunk \"$size\"";
        $h->{rest} = hex $size;
        @$h{qw(last crlf)} = (1, 1) unless $h->{rest};
    }
}


sub request {
    my ($self, $method, $path, %o) = @_;

    croak 'a request inside of another' if $self->{body};

    my $s = VMess::XHTTP::Request->open($self, $method, %o);
    my @headers = @{ $o{headers} // [] };
    my $text = "$method $path HTTP/1.1\r\nHost: "
               . ($o{authority} // 'localhost') . "\r\n";

    while (my ($name, $value) = splice @headers, 0, 2) {
        $text .= "$name: $value\r\n";
    }

    if (defined $o{length}) {
        $text .= "Content-Length: $o{length}\r\n";

    } elsif (!$o{end} || length($o{data} // '')) {
        $text .= "Transfer-Encoding: chunked\r\n";
        $s->h->{chunked} = 1;
    }

    $self->{out} .= "$text\r\n";
    push @{ $self->{queue} }, $s->h;
    $self->{body} = 1;
    $s->send($o{data} // '', end => $o{end});

    return $s;
}


package VMess::XHTTP::Request;

use Carp qw(croak);
use Symbol qw(gensym);
use Time::HiRes qw(time);


sub open {
    my ($class, $c, $method, %o) = @_;

    my $self = bless gensym, $class;
    my $h = { c => $c, method => $method, in => '', ended => 0,
              split => $o{split} };

    *$self = $h;
    tie *$self, 'VMess::XHTTP::Request::Handle', $h;

    return $self;
}


sub blocking { }
sub pending { return 0 }
sub h { return *{ $_[0] }{HASH} }
sub ended { return $_[0]->h->{ended} }
sub rst { return $_[0]->h->{c}{reset} }


# adds to what is to be sent

sub add {
    my ($h, $data, $end) = @_;

    my @part = $h->{split} ? $h->{split}->($data) : $data;
    $h->{c}{out} .= $h->{chunked} ? sprintf("%x\r\n%s\r\n", length $_, $_) : $_
        for grep { length } @part;

    return unless $end;
    $h->{c}{out} .= "0\r\n\r\n" if $h->{chunked};
    $h->{c}{body} = 0;
}


# all of the data, as far as the connection lives; end => 1 ends the request

sub send {
    my ($self, $data, %o) = @_;
    my $h = $self->h;

    add($h, $data, $o{end});
    return 1 if $h->{c}{cork};
    $h->{c}->run(sub { $h->{c}{broken} || !length $h->{c}{out} });
    return !$h->{c}{broken};
}


sub end { return $_[0]->send('', end => 1) }


# data that the server may not take: how much it did not until nothing moved
# for some time; that stays to be sent

sub offer {
    my ($self, $data, $seconds, %o) = @_;
    my $h = $self->h;
    my $c = $h->{c};

    add($h, $data, $o{end});

    my ($last, $since) = (-1, 0);

    while (length $c->{out} && !$c->{broken} && !$c->{eof}) {
        $c->turn;
        ($last, $since) = (length $c->{out}, time) if length $c->{out} != $last;
        last if time - $since > $seconds;
        Time::HiRes::sleep(0.01);
    }

    return length $c->{out};
}


sub reset { return $_[0]->h->{c}->close }


sub wait {
    my ($self, $code) = @_;
    my $h = $self->h;
    my $ok;
    $h->{c}->run(sub { ($ok = $code->()) || $h->{ended} });
    return $ok ? 1 : 0;
}


sub headers {
    my ($self) = @_;
    my $h = $self->h;
    $self->wait(sub { $h->{head} });
    return { @{ $h->{head} // [] } };
}


sub status { return $_[0]->headers->{':status'} // '' }
sub header { return $_[0]->headers->{ $_[1] } }


sub read {
    my ($self, $n) = @_;
    my $h = $self->h;
    $self->wait(sub { length $h->{in} >= $n });
    return substr $h->{in}, 0, $n, '';
}


sub rest { return $_[0]->read(1 << 40) }


package VMess::XHTTP::Request::Handle;


sub TIEHANDLE { return bless { h => $_[1] }, $_[0] }
sub FILENO { return fileno $_[0]{h}{c}{sock} }
sub CLOSE { return $_[0]{h}{c}->close }


sub WRITE {
    my ($self, $data, $len, $off) = @_;
    my $h = $self->{h};
    my $c = $h->{c};

    $c->turn;

    if ($c->{broken} || $c->{eof}) {
        $! = POSIX::EPIPE();
        return;
    }

    if (length $c->{out}) {
        $! = POSIX::EAGAIN();
        return;
    }

    $data = substr $data, $off // 0, $len > 100_000 ? 100_000 : $len;
    VMess::XHTTP::Request::add($h, $data);
    $c->turn;

    return length $data;
}


sub READ {
    my ($self, undef, $len, $off) = @_;
    my $h = $self->{h};

    $h->{c}->turn if !length $h->{in} || length $h->{c}{out};

    if (length $h->{in}) {
        my $data = substr $h->{in}, 0, $len, '';
        if ($off) { substr($_[1], $off) = $data } else { $_[1] = $data }
        return length $data;
    }

    if ($h->{ended} || $h->{c}{eof}) {
        $_[1] = '' unless $off;
        return 0;
    }

    $! = POSIX::EAGAIN();
    return;
}


1;
