package VMess::HPACK;

# Header compression of HTTP/2 (RFC 7541) for the tests: it writes literals
# only, and reads everything.
#
#   my $bytes = VMess::HPACK::encode([ name => value, ... ])
#   my $pairs = VMess::HPACK->new->decode($bytes)         the same form

use v5.20;
use strict;
use warnings;

use Carp qw(croak);


# Appendix A: the static table, from index 1

my @static = map { /^(:?[^:]+)(?::(.*))?$/; [$1, $2 // ''] } qw(
    :authority :method:GET :method:POST :path:/ :path:/index.html :scheme:http
    :scheme:https :status:200 :status:204 :status:206 :status:304 :status:400
    :status:404 :status:500 accept-charset accept-encoding accept-language
    accept-ranges accept access-control-allow-origin age allow
    authorization cache-control content-disposition content-encoding
    content-language content-length content-location content-range content-type
    cookie date etag expect expires from host if-match if-modified-since
    if-none-match if-range if-unmodified-since last-modified link location
    max-forwards proxy-authenticate proxy-authorization range referer refresh
    retry-after server set-cookie strict-transport-security transfer-encoding
    user-agent vary via www-authenticate);
$static[15][1] = 'gzip, deflate';


# Appendix B: the Huffman code is canonical, so the lengths of its codes say
# all: one for each byte, 30 for the end

my @length = qw(
    13 23 28 28 28 28 28 28 28 24 30 28 28 30 28 28
    28 28 28 28 28 28 30 28 28 28 28 28 28 28 28 28
     6 10 10 12 13  6  8 11 10 10  8 11  8  6  6  6
     5  5  5  6  6  6  6  6  6  6  7  8 15  6 12 10
    13  6  7  7  7  7  7  7  7  7  7  7  7  7  7  7
     7  7  7  7  7  7  7  7  8  7  8 13 19 13 14  6
    15  5  6  5  6  5  6  6  6  5  7  7  6  6  6  5
     6  7  6  5  5  6  7  7  7  7  7 15 11 14 13 28
    20 22 20 20 22 22 22 23 22 23 23 23 23 23 24 23
    24 24 22 23 24 23 23 23 23 21 22 23 22 23 23 24
    22 21 20 22 22 23 23 21 23 22 22 24 21 22 23 23
    21 21 22 21 23 22 23 23 20 22 22 22 23 22 22 23
    26 26 20 19 22 23 22 25 26 26 26 27 27 26 24 25
    19 21 26 27 27 26 27 24 21 21 26 26 28 27 27 27
    20 24 20 21 22 21 21 23 22 22 25 25 24 24 26 23
    26 27 26 26 27 27 27 27 27 28 27 27 27 27 27 26 30);

my %symbol;                     # bits as text => number of the byte

{
    my ($code, $len) = (0, 0);
    for my $s (sort { $length[$a] <=> $length[$b] || $a <=> $b } 0 .. 256) {
        $code <<= $length[$s] - $len;
        $len = $length[$s];
        $symbol{ sprintf '%0*b', $len, $code++ } = $s;
    }
}


sub huffman {
    my ($bytes) = @_;

    my ($out, $code) = ('', '');

    for my $bit (split //, unpack 'B*', $bytes) {
        $code .= $bit;
        my $s = $symbol{$code} // next;
        croak 'HPACK: the end inside of a string' if $s == 256;
        $out .= chr $s;
        $code = '';
    }

    croak 'HPACK: bad padding of a string' if $code !~ /^1{0,7}$/;

    return $out;
}


# 5.1: integers with a prefix of some bits

sub integer {
    my ($n, $bits, $flags) = @_;

    my $max = (1 << $bits) - 1;
    return chr($flags | $n) if $n < $max;

    my $out = chr($flags | $max);
    for ($n -= $max; $n >= 128; $n >>= 7) {
        $out .= chr($n & 127 | 128);
    }
    return $out . chr $n;
}


# names in any case: a test may want what a client must not send

sub encode {
    my ($pairs) = @_;

    my $out = '';
    for (my $i = 0; $i < @$pairs; $i += 2) {
        $out .= "\0" . integer(length $pairs->[$i], 7, 0) . $pairs->[$i]
                . integer(length $pairs->[$i + 1], 7, 0) . $pairs->[$i + 1];
    }
    return $out;
}


sub new { return bless { max => 4096, limit => 4096, table => [] }, $_[0] }


sub _integer {
    my ($in, $bits) = @_;

    my $max = (1 << $bits) - 1;
    my $n = ord(substr $$in, 0, 1, '') & $max;
    return $n if $n < $max;

    for (my $shift = 0; $shift < 28; $shift += 7) {
        croak 'HPACK: an integer is cut' if !length $$in;
        my $b = ord substr $$in, 0, 1, '';
        $n += ($b & 127) << $shift;
        return $n if $b < 128;
    }
    croak 'HPACK: a huge integer';
}


sub _string {
    my ($in) = @_;

    croak 'HPACK: a string is cut' if !length $$in;
    my $huffman = ord($$in) & 0x80;
    my $n = _integer($in, 7);
    croak 'HPACK: a string is cut' if $n > length $$in;
    my $s = substr $$in, 0, $n, '';
    return $huffman ? huffman($s) : $s;
}


sub _entry {
    my ($self, $i) = @_;
    return ($i >= 1 && $i <= @static ? $static[$i - 1]
            : $i ? $self->{table}[$i - 1 - @static] : undef)
           // croak "HPACK: no entry $i";
}


sub _shrink {
    my ($self) = @_;
    my $size = 0;
    my $n = 0;
    for (@{ $self->{table} }) {
        $size += 32 + length($_->[0]) + length($_->[1]);
        last if $size > $self->{max};
        $n++;
    }
    splice @{ $self->{table} }, $n;
}


sub decode {
    my ($self, $in) = @_;

    my @out;

    while (length $in) {
        my $b = ord $in;

        if ($b & 0x80) {
            push @out, @{ $self->_entry(_integer(\$in, 7)) };
            next;
        }

        if (($b & 0xe0) == 0x20) {
            $self->{max} = _integer(\$in, 5);
            croak 'HPACK: a table that is too large'
                if $self->{max} > $self->{limit};
            $self->_shrink;
            next;
        }

        my $i = _integer(\$in, $b & 0x40 ? 6 : 4);
        my $name = $i ? $self->_entry($i)->[0] : _string(\$in);
        my $value = _string(\$in);
        push @out, $name, $value;

        if ($b & 0x40) {
            unshift @{ $self->{table} }, [$name, $value];
            $self->_shrink;
        }
    }

    return \@out;
}


1;
