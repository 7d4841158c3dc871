package VMess::GRPC;

# Messages of gRPC with a Hunk, or a MultiHunk, in each: a codec for streams of
# VMess::HTTP2.
#
#   my $s = $c->request('POST', '/svc/Tun', codec => VMess::GRPC->new, ...)
#
#   hunk      most bytes of data in a field
#   fields    so many fields in a message, for TunMulti
#   empty     an empty message before each
#
# What is read must be what light clients understand: one field in a message.

use v5.20;
use strict;
use warnings;

use Carp qw(croak);


sub new {
    my ($class, %o) = @_;
    return bless { hunk => 32_768, fields => 1, messages => 0, %o }, $class;
}


sub message { return pack('C N/a*', $_[1] // 0, $_[0]) }
sub field { return "\x0a" . varint(length $_[0]) . $_[0] }


sub varint {
    my ($n) = @_;
    my $out = '';
    for (; $n >= 128; $n >>= 7) {
        $out .= chr($n & 127 | 128);
    }
    return $out . chr $n;
}


sub encode {
    my ($self, $data) = @_;

    my $out = '';
    while (length $data) {
        my $body = '';
        for (1 .. $self->{fields}) {
            last if !length $data;
            $body .= field(substr $data, 0, $self->{hunk}, '');
        }
        $out .= message('') if $self->{empty};
        $out .= message($body);
    }
    return $out;
}


sub decode {
    my ($self, $in) = @_;

    my $data = '';

    while (length $$in >= 5) {
        my ($flag, $n) = unpack 'C N', $$in;
        croak "gRPC: flag $flag" if $flag;
        croak 'gRPC: an empty message' if !$n;
        croak "gRPC: a message of $n bytes" if $n > 4 << 20;
        last if length $$in < 5 + $n;

        my $body = substr $$in, 5, $n;
        substr($$in, 0, 5 + $n, '');
        $self->{messages}++;

        my ($tag, $len, $shift) = (ord substr($body, 0, 1, ''), 0, 0);
        croak "gRPC: tag $tag" if $tag != 0x0a;
        for ( ;; $shift += 7) {
            croak 'gRPC: a bad length' if !length $body || $shift > 28;
            my $b = ord substr $body, 0, 1, '';
            $len |= ($b & 127) << $shift;
            last if $b < 128;
        }
        croak "gRPC: a field of $len in " . length $body
            if $len != length $body;
        croak 'gRPC: an empty field' if !$len;

        $data .= $body;
    }

    return $data;
}


1;
