package VMess::Mux;

# Mux.Cool and XUDP for the tests: many sub-connections in one VMess flow with
# the command 3.  Written from the description of the protocol.
#
#   bytes    opening(), keeping(), ending(), frame(): frames to write()
#   flows    $m->open, $m->keep, $m->end, $m->read, $m->receive, $m->ended
#
# Whatever the server sends is checked: frames of a sub-connection that is not
# open, and what Mux.Cool does not know, end the test.  With $m->{late} frames
# may be sent to one that has ended: each is answered by End.

use v5.20;
use strict;
use warnings;

use Carp qw(croak);
use Socket qw(AF_INET AF_INET6 inet_ntop);
use VMess;

our %Network = (tcp => 1, udp => 2);


# ---- frames

# opt, meta => bytes behind the option, data

sub frame {
    my ($id, $status, %o) = @_;

    my $opt = $o{opt} // (defined $o{data} ? 1 : 0);
    my $meta = pack('n C C', $id, $status, $opt) . ($o{meta} // '');

    return pack('n/a*', $meta)
           . (defined $o{data} ? pack('n/a*', $o{data}) : '');
}


# net host port data; domain => a name that must stay one; global_id, extra:
# bytes behind the target; address => bytes instead of port, type and address

sub opening {
    my ($id, %o) = @_;

    my $net = $o{net} // 'tcp';
    my $address = $o{address}
                  // (defined $o{domain}
                      ? VMess::domain_address($o{domain}, $o{port})
                      : VMess::address($o{host} // '127.0.0.1', $o{port}));

    return frame($id, 1, data => $o{data},
                 meta => pack('C', $Network{$net} // $net) . $address
                         . ($o{global_id} // '') . ($o{extra} // ''));
}


# data, and the address of a datagram: to => [ host, port ]

sub keeping {
    my ($id, $data, %o) = @_;

    my $meta = $o{meta} // ($o{to} ? "\x02" . VMess::address(@{ $o{to} }) : '');

    return frame($id, 2, data => $data, meta => $meta);
}


sub ending {
    my ($id, $opt) = @_;
    return frame($id, 3, opt => $opt // 0);
}


# a byte run as frames of at most so many bytes

sub run {
    my ($id, $data, $max) = @_;
    $max //= 8192;
    return join '', map { keeping($id, substr($data, $_ * $max, $max)) }
                        0 .. int((length($data) - 1) / $max);
}


# ---- sub-connections of a flow

sub new {
    my ($class, $flow) = @_;
    return bless { flow => $flow, in => '', sub => {}, frames => 0 }, $class;
}


# writes bytes of frames, and takes what comes meanwhile

sub write {
    my ($self, $bytes) = @_;
    my $f = $self->{flow};
    $f->_pump($f->chunk($bytes), sub { $self->_parse; 1 });
    return $self;
}


# a sub-connection as the client knows it, for frames that are written by hand

sub expect {
    my ($self, @id) = @_;
    $self->{sub}{$_} = { in => '', packets => [], peers => [] } for @id;
    return $self;
}


sub open {
    my ($self, $id, %o) = @_;
    $self->expect($id);
    return $self->write(opening($id, %o));
}


sub keep {
    my ($self, $id, $data, %o) = @_;
    return $self->write(keeping($id, $data, %o));
}


sub end {
    my ($self, $id, $opt) = @_;
    $self->{sub}{$id}{left} = 1;
    return $self->write(ending($id, $opt));
}


# until the condition is true or the connection ends

sub wait {
    my ($self, $done) = @_;
    my $f = $self->{flow};
    my $rc = $f->_pump('', sub { $self->_parse; $done->() || $f->{ended} });
    $self->_parse;
    return $rc;
}


# n bytes, or fewer if the end comes before

sub read {
    my ($self, $id, $n) = @_;
    my $s = $self->{sub}{$id};
    $self->wait(sub { length $s->{in} >= $n || defined $s->{end} });
    return substr($s->{in}, 0, $n, '');
}


# all until End

sub read_all {
    my ($self, $id) = @_;
    my $s = $self->{sub}{$id};
    $self->wait(sub { defined $s->{end} });
    return substr($s->{in}, 0, length $s->{in}, '');
}


# the next datagram, undef at the end; in a list with its peer

sub receive {
    my ($self, $id) = @_;
    my $s = $self->{sub}{$id};
    $self->wait(sub { @{ $s->{packets} } || defined $s->{end} });
    my ($data, $peer) = (shift @{ $s->{packets} }, shift @{ $s->{peers} });
    return wantarray ? ($data, $peer) : $data;
}


# waits for End: its option; undef if the connection ends before

sub ended {
    my ($self, $id) = @_;
    my $s = $self->{sub}{$id};
    $self->wait(sub { defined $s->{end} });
    return $s->{end};
}


# waits for the end of the connection

sub closed {
    my ($self) = @_;
    my $f = $self->{flow};
    $f->_pump('', sub { $self->_parse; $f->{eof} });
    $self->_parse;
    return $f->{eof};
}


sub close {
    my ($self) = @_;
    return $self->{flow}->close;
}


# ---- what the server sends

sub _parse {
    my ($self) = @_;

    my $f = $self->{flow};

    $self->{in} .= substr($f->{in}, 0, length $f->{in}, '');

    while (length $self->{in} >= 2) {

        my $n = unpack('n', $self->{in});
        last if length $self->{in} < 2 + $n;

        croak "metadata of $n bytes" if $n < 4;

        my ($id, $status, $opt, $meta) = unpack('x2 n C C a' . ($n - 4),
                                                $self->{in});
        my $data;

        if ($opt & 1) {
            last if length $self->{in} < 4 + $n;
            my $len = unpack("x2 x$n n", $self->{in});
            croak "a frame with $len bytes" if $len == 0 || $len > 8192;
            last if length $self->{in} < 4 + $n + $len;
            $data = substr($self->{in}, 4 + $n, $len);
            substr($self->{in}, 0, 4 + $n + $len, '');

        } else {
            substr($self->{in}, 0, 2 + $n, '');
        }

        $self->{frames}++;
        $self->_frame($id, $status, $opt, $meta, $data);
    }
}


sub _frame {
    my ($self, $id, $status, $opt, $meta, $data) = @_;

    my $s = $self->{sub}{$id}
        // croak "frame with status $status of unknown sub-connection $id";

    if (defined $s->{end}) {
        return if $status == 3 && $self->{late};
        croak "frame with status $status of sub-connection $id after its end";
    }

    if ($status == 3) {
        croak "End with option $opt" if $opt & ~2;
        croak 'End with metadata' if length $meta;
        $s->{end} = $opt;
        return;
    }

    croak "frame with status $status" if $status != 2;
    croak "Keep with option $opt" if $opt != 1;

    push @{ $s->{packets} }, $data;
    push @{ $s->{peers} }, length $meta ? _peer($meta) : '';
    $s->{in} .= $data;
}


sub _peer {
    my ($meta) = @_;

    my ($net, $port, $type, $ip) = unpack('C n C a*', $meta);

    croak "address with network $net" if $net != 2;
    croak "address of type $type" if $type != 1 && $type != 3;
    croak 'length of an address' if length $ip != ($type == 1 ? 4 : 16);

    return $type == 1 ? inet_ntop(AF_INET, $ip) . ":$port"
                      : '[' . inet_ntop(AF_INET6, $ip) . "]:$port";
}


1;
