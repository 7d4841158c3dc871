package VMess;

# A VMess client for the tests, written from the description of the protocol
# and sharing nothing with src/.  Two layers:
#
#   bytes    $v->header, $v->chunk($data), $v->finish, $v->feed($bytes)
#   sockets  $v->connect($sock), $v->send, $v->read, $v->read_all, $v->exchange
#            with cmd => 'udp' $v->send, $v->receive
#
# Every field of the request can be set, wrong values too: see new().

use v5.20;
use strict;
use warnings;

use Carp qw(croak);
use Crypt::AuthEnc::GCM qw(gcm_encrypt_authenticate gcm_decrypt_verify);
use Crypt::Checksum::CRC32 qw(crc32_data);
use Crypt::Cipher::AES;
use Crypt::Mac::HMAC qw(hmac);
use Crypt::PRNG qw(random_bytes);
use Digest::MD5 qw(md5);
use Digest::SHA qw(sha1 sha256);
use IO::Select;
use Socket qw(AF_INET AF_INET6 inet_aton inet_pton);
use Time::HiRes qw(time);

our $Timeout = 20;              # seconds a blocking helper may take

our %Security = ('unknown' => 0, 'aes-128-cfb' => 1, 'auto' => 2,
                 'aes-128-gcm' => 3, 'chacha20-poly1305' => 4, 'none' => 5,
                 'zero' => 5);
our %Command = (tcp => 1, udp => 2, mux => 3);
our %Option = (S => 0x01, R => 0x02, M => 0x04, P => 0x08, A => 0x10);


# ---- hashes and keys

sub fnv1a {
    my $h = 0x811c9dc5;
    $h = (($h ^ $_) * 0x01000193) & 0xffffffff for unpack('C*', $_[0]);
    return $h;
}


# HMAC nested in HMAC: the inner hash of each level is the level below

sub kdf {
    my ($key, @path) = @_;

    my $hash = sub { sha256($_[0]) };

    for my $k ('VMess AEAD KDF', @path) {
        my $lower = $hash;
        my $pad = length($k) > 64 ? $lower->($k) : $k;
        $pad .= "\0" x (64 - length $pad);
        my ($inner, $outer) = ($pad ^ ("\x36" x 64), $pad ^ ("\x5c" x 64));
        $hash = sub { $lower->($outer . $lower->($inner . $_[0])) };
    }

    return $hash->($key);
}


sub kdf16 { return substr(kdf(@_), 0, 16) }
sub kdf12 { return substr(kdf(@_), 0, 12) }


# text to id: hex groups, or a short string mapped to a version 5 UUID

sub uuid {
    my ($text) = @_;

    if (length($text) >= 32) {
        (my $hex = $text) =~ tr/-//d;
        return pack('H32', $hex);
    }

    my $u = substr(sha1("\0" x 16 . $text), 0, 16);
    substr($u, 6, 1) = chr(ord(substr($u, 6, 1)) & 0x0f | 0x50);
    substr($u, 8, 1) = chr(ord(substr($u, 8, 1)) & 0x3f | 0x80);
    return $u;
}


sub cmd_key { return md5($_[0] . 'c48619fe-8f02-49e0-b9e9-edf763e17e21') }


# the n-th alter id of a chain; the first is the id itself

sub alter_id {
    my ($id, $n) = @_;

    for (1 .. $n) {
        my $salt = '16167dc8-16b6-4e6d-b8bb-65dd68113a81';
        my $next = md5($id . $salt);

        while ($next eq $id) {
            $salt .= '533eff8a-4113-4b10-b5ce-0f5d76b98cd2';
            $next = md5($id . $salt);
        }

        $id = $next;
    }

    return $id;
}


sub chacha_key {
    my $k = md5($_[0]);
    return $k . md5($k);
}


# port, type and address as on the wire

sub address {
    my ($host, $port) = @_;

    my $out = pack('n', $port);

    if ($host =~ /^\d+\.\d+\.\d+\.\d+$/ && defined inet_aton($host)) {
        return $out . "\x01" . inet_aton($host);
    }

    if ($host =~ /:/ && $host !~ /^\[/
        && defined(my $ip = inet_pton(AF_INET6, $host)))
    {
        return $out . "\x03" . $ip;
    }

    return $out . "\x02" . pack('C/a*', $host);
}


# a target that must stay a domain on the wire, whatever it looks like

sub domain_address {
    my ($name, $port) = @_;
    return pack('n', $port) . "\x02" . pack('C/a*', $name);
}


# ---- one flow

# uuid       text or 16 bytes
# sec        aes-128-gcm, chacha20-poly1305, none, zero, or a number
# opt        letters of SRMPA or a number; default S M P (zero: none)
# cmd        tcp, udp, mux, or a number
# host port  target; address => bytes replaces port, type and address
# time skew  seconds; the time stamped is time + skew
# pad        header padding: bytes, or how many (0..15)
# alter      legacy header, with the token of that alter id (0: of the id)
# http       head of a disguised request, before the header; the head of the
#            response comes to $v->{http_response}
# data_max   most plaintext bytes in a chunk
#
# for determinism: auth_rand (4), nonce (8), iv (16), key (16), v
# overrides: version reserved fnv plain tail length auth_id auth_plain
# bad => list of: crc ltag lbody tag body nonce (a bit is flipped there), with
#            a legacy header of: token body sum

sub new {
    my ($class, %o) = @_;

    my $self = bless { uuid => 'b831381d-6324-4d53-ad4f-8cda48b30811',
                       sec => 'aes-128-gcm', cmd => 'tcp',
                       host => '127.0.0.1', port => 0, version => 1,
                       reserved => 0, skew => 0, pad => '', tail => '',
                       data_max => 15000, %o }, $class;

    my $name = $self->{sec};
    $self->{sec} = $Security{$name} // $name;
    $self->{opt} //= $name eq 'zero' ? 0 : $name eq 'none' ? 'SM'
                   : $name eq 'aes-128-cfb' ? 'S' : 'SMP';

    if ($self->{opt} =~ /^[SRMPA]*$/ && $self->{opt} !~ /^\d+$/) {
        my $bits = 0;
        $bits |= $Option{$_} for split //, $self->{opt};
        $self->{opt} = $bits;
    }

    $self->{cmd} = $Command{$self->{cmd}} // $self->{cmd};
    $self->{uuid} = uuid($self->{uuid}) if length($self->{uuid}) != 16;
    $self->{pad} = random_bytes($self->{pad}) if $self->{pad} =~ /^\d{1,2}$/;

    $self->{iv} //= random_bytes(16);
    $self->{key} //= random_bytes(16);
    $self->{v} //= ord random_bytes(1);

    $self->{in} = '';           # plaintext that was not read yet
    $self->{packets} = [];      # datagrams that were not read yet
    $self->{raw} = '';          # bytes that wait to be decoded
    $self->{received} = 0;      # bytes from the wire
    $self->{eof} = 0;           # transport ended
    $self->{ended} = 0;         # end chunk seen

    my ($rkey, $riv) = map { defined $self->{alter} ? md5($_)
                             : substr(sha256($_), 0, 16) } @$self{qw(key iv)};

    my %codec = (sec => $self->{sec}, opt => $self->{opt},
                 cmd => $self->{cmd}, len_key => $self->{key},
                 len_iv => $self->{iv});

    $self->{up} = VMess::Codec->new(%codec, key => $self->{key},
                                    iv => $self->{iv});
    $self->{down} = VMess::Codec->new(%codec, key => $rkey, iv => $riv);

    @$self{qw(resp_key resp_iv)} = ($rkey, $riv);

    return $self;
}


# the plain instruction header

sub instruction {
    my ($self) = @_;

    return $self->{plain} if defined $self->{plain};

    my $h = pack('C a16 a16 C C C C C', $self->{version}, $self->{iv},
                 $self->{key}, $self->{v}, $self->{opt},
                 length($self->{pad}) << 4 | $self->{sec} & 0x0f,
                 $self->{reserved}, $self->{cmd});

    $h .= $self->{address} // address($self->{host}, $self->{port})
        if $self->{cmd} != 3 || defined $self->{address};

    $h .= $self->{pad};
    $h .= pack('N', $self->{fnv} // fnv1a($h));

    return $h . $self->{tail};
}


sub flip { substr($_[0], $_[1], 1) ^= "\x01" }


# the sealed request header; the same bytes each time it is called

sub header {
    my ($self) = @_;

    return $self->{wire} if defined $self->{wire};

    my %bad = map { $_ => 1 } ref $self->{bad} ? @{ $self->{bad} }
                                               : $self->{bad} // ();

    my $cmd_key = cmd_key($self->{uuid});
    my $t = ($self->{time} // int time) + $self->{skew};

    return $self->_legacy_header($cmd_key, $t, \%bad)
        if defined $self->{alter};

    my $auth = pack('q> a4', $t, $self->{auth_rand} // random_bytes(4));
    $auth .= pack('N', unpack('N', crc32_data($auth)));
    flip($auth, 13) if $bad{crc};
    $auth = $self->{auth_plain} // $auth;

    my $id = $self->{auth_id} // Crypt::Cipher::AES->new(
        kdf16($cmd_key, 'AES Auth ID Encryption'))->encrypt($auth);

    my $nonce = $self->{nonce} // random_bytes(8);
    my $plain = $self->instruction;

    my $seal = sub {
        my ($what, $text) = @_;
        return gcm_encrypt_authenticate('AES',
            kdf16($cmd_key, "VMess Header AEAD Key$what", $id, $nonce),
            kdf12($cmd_key, "VMess Header AEAD Nonce$what", $id, $nonce),
            $id, $text);
    };

    my ($len, $ltag) = $seal->('_Length',
                               pack('n', $self->{length} // length $plain));
    my ($body, $tag) = $seal->('', $plain);

    flip($len, 0) if $bad{lbody};
    flip($ltag, 15) if $bad{ltag};
    flip($nonce, 3) if $bad{nonce};
    flip($body, 20) if $bad{body};
    flip($tag, 15) if $bad{tag};

    $self->{auth_id} = $id;

    return $self->{wire} = $id . $len . $ltag . $nonce . $body . $tag;
}


# a token, then the instruction header as a stream of its own

sub _legacy_header {
    my ($self, $cmd_key, $t, $bad) = @_;

    my $time = pack('q>', $t);

    $self->{auth_id} //= hmac('MD5', alter_id(@$self{qw(uuid alter)}), $time);

    my $body = VMess::CFB->new($cmd_key, md5($time x 4))
               ->encrypt($self->instruction);

    flip($self->{auth_id}, 7) if $bad->{token};
    flip($body, 20) if $bad->{body};
    flip($body, length($body) - length($self->{tail}) - 1) if $bad->{sum};

    return $self->{wire} = $self->{auth_id} . $body;
}


# data as chunks; datagrams: one chunk each

sub chunk {
    my ($self, @data) = @_;

    my $data = join '', @data;
    return $self->{up}->encrypt($data) if $self->{up}->raw;

    return join '', map { $self->{up}->seal($_) } grep { length } @data
        if $self->{cmd} == 2;

    my $out = '';
    my $max = $self->{data_max};

    for (my $i = 0; $i < length $data; $i += $max) {
        $out .= $self->{up}->seal(substr($data, $i, $max));
    }

    return $out;
}


# the end chunk; nothing where the body has none

sub finish {
    my ($self) = @_;
    return $self->{up}->raw ? '' : $self->{up}->seal('');
}


# decodes bytes of the response; plaintext is appended to $self->{in}, a
# datagram to $self->{packets}

sub feed {
    my ($self, $bytes) = @_;

    $self->{raw} .= $bytes;
    $self->{received} += length $bytes;

    if (defined $self->{http} && !defined $self->{http_response}) {
        my $n = index($self->{raw}, "\r\n\r\n");
        return if $n < 0;
        $self->{http_response} = substr($self->{raw}, 0, $n + 4, '');
    }

    if (!defined $self->{response}) {
        defined $self->{alter} ? $self->_open_legacy_response
                               : $self->_open_response or return;
    }

    if ($self->{down}->raw) {
        $self->{in} .= $self->{down}->decrypt($self->{raw});
        $self->{raw} = '';
        return;
    }

    while (defined(my $data = $self->{down}->open(\$self->{raw}))) {
        croak 'data after the end chunk' if $self->{ended};
        if ($data eq '') {
            $self->{ended} = 1;
            croak 'bytes after the end chunk' if length $self->{raw};
            last;
        }

        if ($self->{cmd} == 2) {
            push @{ $self->{packets} }, $data;
        } else {
            $self->{in} .= $data;
        }
    }
}


sub _open_response {
    my ($self) = @_;

    my ($key, $iv) = @$self{qw(resp_key resp_iv)};

    if (!defined $self->{response_len}) {
        return 0 if length $self->{raw} < 18;

        my $sealed = substr($self->{raw}, 0, 2, '');
        my $tag = substr($self->{raw}, 0, 16, '');
        my $len = gcm_decrypt_verify('AES',
            kdf16($key, 'AEAD Resp Header Len Key'),
            kdf12($iv, 'AEAD Resp Header Len IV'), '', $sealed, $tag);
        croak 'bad tag of the response length' unless defined $len;
        $self->{response_len} = unpack('n', $len);
    }

    my $n = $self->{response_len};
    return 0 if length $self->{raw} < $n + 16;

    my $sealed = substr($self->{raw}, 0, $n, '');
    my $tag = substr($self->{raw}, 0, 16, '');
    my $plain = gcm_decrypt_verify('AES',
        kdf16($key, 'AEAD Resp Header Key'), kdf12($iv, 'AEAD Resp Header IV'),
        '', $sealed, $tag);
    croak 'bad tag of the response header' unless defined $plain;

    return $self->_take_response($plain);
}


# no length and no tag; where the body is a stream, this is its start

sub _open_legacy_response {
    my ($self) = @_;

    my $cfb = $self->{down}{cfb}
              || ($self->{response_cfb}
                  //= VMess::CFB->new(@$self{qw(resp_key resp_iv)}));

    $self->{response_plain} //= '';

    for ( ;; ) {
        my $have = length $self->{response_plain};
        my $want = $have < 4 ? 4
                             : 4 + ord substr($self->{response_plain}, 3, 1);

        return $self->_take_response($self->{response_plain})
            if $have == $want;
        return 0 unless length $self->{raw};

        $self->{response_plain} .=
            $cfb->decrypt(substr($self->{raw}, 0, $want - $have, ''));
    }
}


sub _take_response {
    my ($self, $plain) = @_;

    my %r;
    @r{qw(v opt cmd content)} = unpack('C C C C/a*', $plain);
    croak "response echoes $r{v}, not $self->{v}" if $r{v} != $self->{v};

    $self->{response} = \%r;
    $self->{response_plain} = $plain;

    return 1;
}


# the account to switch to that the response tells of, undef if none

sub switch {
    my ($self) = @_;

    my $r = $self->{response};
    return unless $r && $r->{cmd} == 1;

    my ($sum, $rest) = unpack('N a*', $r->{content});
    croak 'wrong check sum of a command' if $sum != fnv1a($rest);

    my %sw;
    @sw{qw(host port uuid alter_id level minutes tail)} =
        unpack('C/a n a16 n C C a*', $rest);
    croak 'bytes after a command' if length delete $sw{tail};

    return \%sw;
}


# ---- sockets: plain, Unix or IO::Socket::SSL, left in non-blocking mode

# takes the socket and sends the header; data => bytes, or a list of datagrams,
# goes in the same write

sub connect {
    my ($self, $sock, %o) = @_;

    $self->{sock} = $sock;
    $sock->blocking(0);
    my @data = ref $o{data} ? @{ $o{data} } : $o{data} // '';
    $self->_pump(($self->{http} // '') . $self->header . $self->chunk(@data))
        unless $o{quiet};

    return $self;
}


# writes bytes, and reads meanwhile until $done->() (or all is written)

sub _pump {
    my ($self, $out, $done) = @_;

    my $sock = $self->{sock};
    my $tls = $sock->can('pending');
    my $set = IO::Select->new($sock);
    my $limit = time + $Timeout;

    for ( ;; ) {
        my $progress = 0;

        if (length $out) {
            my $n = syswrite($sock, $out, 1 << 18);
            if (defined $n) {
                substr($out, 0, $n, '');
                $progress = $n;

            } elsif (!$!{EAGAIN} && !$!{EINTR} && !$tls) {
                $self->{error} = "$!";
                $out = '';
            }
        }

        if (!length $out) {
            return 1 unless $done;
            return 1 if $done->();
            return 0 if $self->{eof};
        }

        if ($done && !$self->{eof}) {
            my $n = sysread($sock, my $buf, 1 << 18);
            if (defined $n) {
                $n ? $self->feed($buf) : ($self->{eof} = 1);
                $progress = 1;

            } elsif ($!{ECONNRESET} || $!{EPIPE}) {
                @$self{qw(eof error)} = (1, "$!");
                $progress = 1;
            }
        }

        next if $progress;

        my $left = $limit - time;
        croak 'timed out, ' . length($self->{in}) . ' bytes of answer wait'
            if $left <= 0;

        # a TLS socket may want either direction: poll it often
        $left = 0.01 if $tls && $left > 0.01;
        IO::Select->select($done ? $set : undef, length $out ? $set : undef,
                           undef, $left);
    }
}


# data, or several datagrams in one write

sub send {
    my ($self, @data) = @_;
    $self->_pump($self->chunk(@data));
    return $self;
}


sub send_raw {
    my ($self, $bytes) = @_;
    $self->_pump($bytes);
    return $self;
}


# the next datagram, undef at the end; with n, up to so many

sub receive {
    my ($self, $n) = @_;
    my $p = $self->{packets};
    $self->_pump('', sub { @$p >= ($n // 1) || $self->{ended} });
    return defined $n ? splice(@$p, 0, $n) : shift @$p;
}


# n bytes of answer, or fewer if it ends before

sub read {
    my ($self, $n) = @_;
    $self->_pump('', sub { length $self->{in} >= $n || $self->{ended} });
    return substr($self->{in}, 0, $n, '');
}


# all until the end chunk or the end of the transport

sub read_all {
    my ($self) = @_;
    $self->_pump('', sub { $self->{ended} || $self->{eof} });
    return substr($self->{in}, 0, length $self->{in}, '');
}


# until the transport ends: what is left of the answer

sub read_eof {
    my ($self) = @_;
    $self->_pump('', sub { $self->{eof} });
    return substr($self->{in}, 0, length $self->{in}, '');
}


# sends data and reads n bytes at the same time

sub exchange {
    my ($self, $data, $n) = @_;
    $self->_pump($self->chunk($data),
                 sub { length $self->{in} >= $n || $self->{ended} });
    return substr($self->{in}, 0, $n, '');
}


# end chunk, the transport stays open

sub end {
    my ($self) = @_;
    $self->_pump($self->finish);
    return $self;
}


# half-close of the transport itself

sub shut {
    my ($self) = @_;
    shutdown($self->{sock}, 1);
    return $self;
}


sub close {
    my ($self) = @_;
    close $self->{sock} if $self->{sock};
    delete $self->{sock};
    return;
}


# ---- the data section in one direction

package VMess::Codec;

use Carp qw(croak);
use Crypt::Digest::SHAKE;
use Crypt::PRNG qw(random_bytes);


sub new {
    my ($class, %o) = @_;

    my $aead = $o{sec} == 3 || $o{sec} == 4;
    my $cfb = $o{sec} == 0 || $o{sec} == 1;
    my $opt = $o{opt};

    my $self = bless {
        sec      => $o{sec},
        aead     => $aead,
        cfb      => $cfb ? VMess::CFB->new($o{key}, $o{iv}) : undef,
        overhead => $aead ? 16 : $cfb ? 4 : 0,
        framed   => $aead || ($opt & 0x01),
        mask     => $opt & 0x04,
        padding  => ($opt & 0x08) && ($aead || $cfb || $o{cmd} == 2),
        authlen  => ($opt & 0x10) && $aead,
        shake    => Crypt::Digest::SHAKE->new(128),
        words    => [],
        cipher   => $aead ? VMess::AEAD->new($o{sec}, $o{key}, $o{iv})
                          : undef,
        pads     => undef,              # padding bytes to use, for vectors
    }, $class;

    $self->{shake}->add($o{iv});

    $self->{length_cipher} = VMess::AEAD->new($o{sec},
        VMess::kdf16($o{len_key}, 'auth_len'), $o{len_iv})
        if $self->{authlen};

    return $self;
}


sub raw { return !$_[0]{framed} }


# bytes of the cipher stream that all else is in, if there is one

sub encrypt { return $_[0]{cfb} ? $_[0]{cfb}->encrypt($_[1]) : $_[1] }
sub decrypt { return $_[0]{cfb} ? $_[0]{cfb}->decrypt($_[1]) : $_[1] }


sub _word {
    my ($self) = @_;
    push @{ $self->{words} }, unpack('n*', $self->{shake}->done(1344))
        unless @{ $self->{words} };
    return shift @{ $self->{words} };
}


# one chunk; an empty one ends the direction

sub seal {
    my ($self, $data) = @_;

    my $pad = $self->{padding} ? $self->_word % 64 : 0;
    my $body = $self->{aead} ? $self->{cipher}->seal($data)
             : $self->{cfb} ? pack('N a*', VMess::fnv1a($data), $data) : $data;
    my $len = length($body) + $pad;

    croak "a chunk of $len bytes" if $len > 65535;

    my $field = $self->{authlen}
        ? $self->{length_cipher}->seal(pack('n', $len - 16))
        : pack('n', $self->{mask} ? $len ^ $self->_word : $len);

    my $fill = $pad ? $self->{pads} ? substr($self->{pads}, 0, $pad, '')
                                    : random_bytes($pad)
                    : '';

    return $self->encrypt($field . $body . $fill);
}


# takes one chunk from the front of $$buf: its data, '' for the end chunk,
# undef when it is not whole yet

sub open {
    my ($self, $buf) = @_;

    if (!defined $self->{length}) {
        my $size = $self->{authlen} ? 18 : 2;
        return if length $$buf < $size;

        $self->{pad} = $self->{padding} ? $self->_word % 64 : 0;

        my $field = substr($$buf, 0, $size, '');

        if ($self->{authlen}) {
            my $len = $self->{length_cipher}->open($field);
            croak 'bad tag of a chunk length' unless defined $len;
            $self->{length} = unpack('n', $len) + 16;

        } else {
            $self->{length} = unpack('n', $self->decrypt($field));
            $self->{length} ^= $self->_word if $self->{mask};
        }

        croak "a chunk length of $self->{length} with $self->{pad} of padding"
            if $self->{length} < $self->{pad} + $self->{overhead};
    }

    return if length $$buf < $self->{length};

    my $body = $self->decrypt(substr($$buf, 0, $self->{length}, ''));
    substr($body, length($body) - $self->{pad}) = '' if $self->{pad};
    delete $self->{length};

    if ($self->{cfb}) {
        my ($sum, $data) = unpack('N a*', $body);
        croak 'wrong check sum of a chunk' if $sum != VMess::fnv1a($data);
        return $data;
    }

    return $body unless $self->{aead};

    my $data = $self->{cipher}->open($body);
    croak 'bad tag of a chunk' unless defined $data;

    return $data;
}


# AES-128-CFB as a stream, in either direction

package VMess::CFB;

use Crypt::Mode::CFB;


sub new {
    my ($class, @key_iv) = @_;
    return bless { key_iv => \@key_iv }, $class;
}


sub encrypt {
    my ($self, $data) = @_;

    $self->{enc} //= do {
        my $m = Crypt::Mode::CFB->new('AES');
        $m->start_encrypt(@{ $self->{key_iv} });
        $m;
    };

    return $self->{enc}->add($data);
}


sub decrypt {
    my ($self, $data) = @_;

    $self->{dec} //= do {
        my $m = Crypt::Mode::CFB->new('AES');
        $m->start_decrypt(@{ $self->{key_iv} });
        $m;
    };

    return $self->{dec}->add($data);
}


# an AEAD with the nonces of VMess: u16 counter, then bytes 2..12 of the IV

package VMess::AEAD;

use Crypt::AuthEnc::ChaCha20Poly1305 qw(
    chacha20poly1305_encrypt_authenticate chacha20poly1305_decrypt_verify);
use Crypt::AuthEnc::GCM;


sub new {
    my ($class, $sec, $key, $iv) = @_;

    return bless { n => 0, tail => substr($iv, 2, 10),
                   $sec == 4 ? (chacha => VMess::chacha_key($key))
                             : (gcm => Crypt::AuthEnc::GCM->new('AES', $key))
                 }, $class;
}


sub _nonce {
    my ($self) = @_;
    return pack('n', $self->{n}++ & 0xffff) . $self->{tail};
}


sub seal {
    my ($self, $data) = @_;

    if (my $g = $self->{gcm}) {
        $g->reset;
        $g->iv_add($self->_nonce);
        $g->adata_add('');
        return $g->encrypt_add($data) . $g->encrypt_done;
    }

    return join '', chacha20poly1305_encrypt_authenticate($self->{chacha},
                        $self->_nonce, '', $data);
}


sub open {
    my ($self, $sealed) = @_;

    my $tag = substr($sealed, -16);
    my $text = substr($sealed, 0, -16);

    if (my $g = $self->{gcm}) {
        $g->reset;
        $g->iv_add($self->_nonce);
        $g->adata_add('');
        my $data = $g->decrypt_add($text);
        return $g->decrypt_done($tag) ? $data : undef;
    }

    return chacha20poly1305_decrypt_verify($self->{chacha}, $self->_nonce, '',
                                           $text, $tag);
}


1;
