# The Perl client against the vectors: the tests rely on it, so it is tested
# itself, without nginx.

use v5.20;
use strict;
use warnings;

use lib 't/lib';

use Digest::SHA qw(sha256_hex);
use Test::More;
use VMess;

use JSON::PP;

my $dir = 't/vectors';

sub vectors {
    open my $fh, '<', "$dir/$_[0].json" or die "$dir/$_[0].json: $!";
    local $/;
    return JSON::PP->new->utf8->decode(<$fh>);
}

sub raw { return pack 'H*', $_[0] }


# keys

for my $c (@{ vectors('vmess_kdf')->{cases} }) {
    is(unpack('H*', VMess::kdf(raw($c->{key}), map { raw($_) } @{ $c->{path} })),
       $c->{out}, 'kdf with a path of ' . @{ $c->{path} });
}


# request headers, byte for byte

for my $c (@{ vectors('vmess_aead_request')->{cases} }) {
    my %o = map { $_ => $c->{$_} } qw(time opt sec cmd port);
    $o{uuid} = $c->{uuid};
    $o{host} = $c->{addr} =~ s/^\[|\]$//gr if defined $c->{addr};
    $o{$_} = raw($c->{$_}) for qw(pad);
    $o{auth_rand} = raw($c->{authid_random});
    $o{nonce} = raw($c->{connection_nonce});
    $o{iv} = raw($c->{body_iv});
    $o{key} = raw($c->{body_key});
    $o{v} = $c->{resp_v};

    is(unpack('H*', VMess->new(%o)->header), $c->{wire},
       "request header $c->{name}");
}


for my $c (@{ vectors('vmess_legacy_request')->{cases} }) {
    my %o = map { $_ => $c->{$_} } qw(uuid time opt sec cmd port);
    $o{host} = $c->{addr} =~ s/^\[|\]$//gr if defined $c->{addr};
    $o{pad} = raw($c->{pad});
    $o{iv} = raw($c->{body_iv});
    $o{key} = raw($c->{body_key});
    $o{v} = $c->{resp_v};
    $o{alter} = $c->{alter_id} ? $c->{alter_index} + 1 : 0;

    is(unpack('H*', VMess->new(%o)->header), $c->{wire},
       "legacy request header $c->{name}");
}


# response headers, at once and a byte at a time

for my $c (@{ vectors('vmess_aead_response')->{cases} }) {
    my $new = sub { VMess->new(sec => 5, opt => 0, iv => raw($c->{body_iv}),
                               key => raw($c->{body_key}), v => $c->{resp_v}) };

    my $v = $new->();
    $v->feed(raw($c->{wire}));
    is(unpack('H*', $v->{response_plain}), $c->{header_plain},
       "response header $c->{name}");

    $v = $new->();
    $v->feed($_) for split //, raw($c->{wire});
    is(unpack('H*', $v->{response_plain}), $c->{header_plain},
       "response header $c->{name} in bytes");
}


for my $c (@{ vectors('vmess_legacy_response')->{cases} }) {
    for my $sec (1, 5) {
        my $new = sub { VMess->new(sec => $sec, opt => 0, alter => 1,
                                   iv => raw($c->{body_iv}), v => $c->{resp_v},
                                   key => raw($c->{body_key})) };

        # a raw body follows; that of CFB goes on in the stream

        my $s = $new->();
        my $wire = raw($c->{wire});

        if ($sec == 1) {
            $s->{down}->encrypt(raw($c->{header_plain}));
            $wire .= $s->{down}->encrypt('x' x 40);
        } else {
            $wire .= 'x' x 40;
        }

        my ($v, $w) = ($new->(), $new->());
        $v->feed($wire);
        $w->feed($_) for split //, $wire;

        for ($v, $w) {
            is(unpack('H*', $_->{response_plain}), $c->{header_plain},
               "legacy response header $c->{name}, security $sec");
            is($_->{in}, 'x' x 40, 'and the body after it');
        }

        my $sw = $c->{switch} or next;
        is_deeply($v->switch,
                  { host => $sw->{host}, port => $sw->{port},
                    uuid => VMess::uuid($sw->{uuid}), level => $sw->{level},
                    alter_id => $sw->{alter_ids},
                    minutes => $sw->{valid_min} },
                  "account to switch to, $c->{name}");
    }
}


# data sections: what we write is the vector, what we read is the data

my $bodies = vectors('body_chunks');

for my $c (@{ $bodies->{cases} }) {
    my $new = sub {
        VMess::Codec->new(sec => $c->{sec}, opt => $c->{opt},
                          cmd => $c->{cmd}, key => raw($c->{dir_key}),
                          iv => raw($c->{dir_iv}),
                          len_key => raw($c->{body_key}),
                          len_iv => raw($c->{body_iv}));
    };

    my ($w, $r) = ($new->(), $new->());
    my ($all, $bad) = ('', '');

    # the stream starts with the response header there

    if ($c->{header} eq 'legacy' && $c->{dir} eq 's2c') {
        $r->decrypt($w->encrypt(pack('C4', $c->{resp_v}, 0, 0, 0)));
    }

    for my $k (@{ $c->{chunks} }) {
        my $plain = pack 'C*', map { (7 * $_ + 3 + 11 * $k->{pattern_k}) & 255 }
                               0 .. $k->{plain_len} - 1;

        $w->{pads} = raw($k->{pad});
        my $wire = $w->raw ? $w->encrypt($plain) : $w->seal($plain);
        $bad .= " written $k->{plain_len}"
            if sha256_hex($wire) ne $k->{wire_sha256};
        $all .= $wire;

        if ($r->raw) {
            $bad .= " read $k->{plain_len}" if $r->decrypt($wire) ne $plain;
            next;
        }

        my $first = substr($wire, 0, length($wire) - 1);
        $bad .= " early $k->{plain_len}" if defined $r->open(\$first);
        my $rest = $first . substr($wire, -1);
        my $got = $r->open(\$rest);
        $bad .= " read $k->{plain_len}"
            if !defined $got || $got ne $plain || length $rest;
    }

    is($bad, '', "body $c->{name}");
    is(sha256_hex($all), $c->{body_sha256}, "body $c->{name}, whole");
}

{
    my $c = $bodies->{nonce_counter_wrap};
    my $w = VMess::Codec->new(sec => $c->{sec}, opt => $c->{opt}, cmd => 1,
                              (map { $_ => raw($c->{body_key}) } qw(key len_key)),
                              (map { $_ => raw($c->{body_iv}) } qw(iv len_iv)));
    my $all = join '', map { $w->seal(chr($_ & 255)) } 0 .. 65537;
    is(sha256_hex($all), $c->{wire_sha256}, 'the nonce counter wraps');
}


# ids

for my $c (@{ vectors('vmess_kdf')->{uuid_text}{cases} }) {
    next if $c->{error};
    utf8::encode($c->{text});
    is(unpack('H*', VMess::uuid($c->{text})), $c->{uuid} =~ tr/-//dr,
       "id \"$c->{text}\"");
}


# a client whose checks never fail would prove nothing

for my $byte (0, 17, 18, 37, 38, 60) {
    my $v = VMess->new(host => 'a.test', port => 1);
    my $s = VMess::Codec->new(sec => 3, opt => $v->{opt}, cmd => 1,
                              key => $v->{resp_key}, iv => $v->{resp_iv},
                              len_key => $v->{key}, len_iv => $v->{iv});

    my $wire = response($v) . $s->seal('x' x 100);
    my $good = VMess->new(%$v, host => 'a.test');
    $good->feed($wire);
    is($good->{in}, 'x' x 100, 'an intact answer is read');

    substr($wire, $byte, 1) ^= "\x80";
    my $ok = eval { $v->feed($wire); length $v->{in} == 100 };
    ok(!$ok, "a flipped bit at $byte of an answer is found");
}

for my $byte (0, 2, 6, 105) {
    my %o = (sec => 1, opt => 1, cmd => 1, key => 'k' x 16, iv => 'i' x 16,
             len_key => 'k' x 16, len_iv => 'i' x 16);
    my $wire = VMess::Codec->new(%o)->seal('x' x 100);
    substr($wire, $byte, 1) ^= "\x80";
    my $data = eval { VMess::Codec->new(%o)->open(\$wire) };
    ok(!defined $data, "a flipped bit at $byte of a chunk of CFB is found");
}

# a legacy header: the same bytes each time, and other ones if it is to be bad

{
    my %o = (alter => 2, time => 1735689600, iv => 'i' x 16, key => 'k' x 16,
             v => 1, host => 'a.test', port => 1, http => 'unused');
    my $v = VMess->new(%o);
    my $wire = $v->header;
    is($v->header, $wire, 'a legacy header, again');

    for (['token', 7], ['body', 36], ['sum', length($wire) - 1]) {
        my ($bad, $byte) = @$_;
        my $other = VMess->new(%o, bad => $bad)->header ^ $wire;
        is(($other =~ tr/\0//c) . '@' . ($other =~ /[^\0]/ ? $-[0] : ''),
           "1\@$byte", "a legacy header with bad $bad");
    }

    # the head of a disguised response comes first

    my $answer = "HTTP/1.1 200 OK\r\nDate: x\r\n\r\n"
                 . VMess::CFB->new(@$v{qw(resp_key resp_iv)})
                   ->encrypt(pack('C4', 1, 0, 0, 0));
    $v->feed($_) for split //, $answer;
    is($v->{http_response}, substr($answer, 0, -4), 'a disguised response');
    is($v->{response_plain}, "\1\0\0\0", 'and what it is followed by');
}

done_testing();


sub response {
    my ($v) = @_;
    my $plain = pack('C4', $v->{v}, 0, 0, 0);
    my @len = Crypt::AuthEnc::GCM::gcm_encrypt_authenticate('AES',
        VMess::kdf16($v->{resp_key}, 'AEAD Resp Header Len Key'),
        VMess::kdf12($v->{resp_iv}, 'AEAD Resp Header Len IV'), '',
        pack('n', length $plain));
    my @body = Crypt::AuthEnc::GCM::gcm_encrypt_authenticate('AES',
        VMess::kdf16($v->{resp_key}, 'AEAD Resp Header Key'),
        VMess::kdf12($v->{resp_iv}, 'AEAD Resp Header IV'), '', $plain);
    return join '', @len, @body;
}
