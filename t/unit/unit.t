#!/usr/bin/perl

# Runs the unit tests of src/proto, and of the replay filter, the tables of
# users, their addresses and files, tokens, the registry of sessions, frames to clients of Mux.Cool and the socket
# of datagrams, one C program a file, fed with the vectors.
# Names of them may be given: t/unit/unit.t mux chunk.
#
# CC, CFLAGS_EXTRA (-fsanitize=address,undefined), NGX_VMESS_INC and
# TEST_VMESS_UNIT, a folder to build in and to keep, are taken from the
# environment.

use warnings;
use strict;

use Cwd qw(abs_path);
use File::Basename qw(basename dirname);
use File::Path qw(make_path);
use JSON::PP;
use Test::More;

my $unit = dirname(abs_path($0));
my $root = dirname(dirname($unit));
my $build = $ENV{TEST_VMESS_UNIT} || "$root/.build/unit.$$";

use lib dirname(abs_path($0)), dirname(abs_path($0)) . '/../lib';
use Profile;

my @tests = qw(shake crypto kdf auth address header legacy chunk mux
               packetaddr ws grpc xhttp http guess json json_out text_out profile
               kcp_packet
               kcp replay token registry mux_output cone period usage journal
               table table_find table_room table_temporary table_set clients state_user process qr choice subscription counters
               history);

# a file that no other test is linked with

my %file = (mux_output => "$root/src/event/ngx_vmess_mux_output.c",
            cone => "$root/src/stream/ngx_stream_vmess_cone.c",
            counters => "$root/src/event/ngx_vmess_counters.c",
            history => "$root/src/event/ngx_vmess_history.c",
            clients => "$root/src/event/ngx_vmess_clients.c",
            process => "$root/src/event/ngx_vmess_process.c",
            state_user => "$root/src/event/ngx_vmess_state_user.c");

my $cc = $ENV{CC} || 'gcc';
my $flags = '-g -O1 -Wall -Wextra -Wno-unused-parameter -Werror '
            . ($ENV{CFLAGS_EXTRA} || '');

chomp(my $inc = `$unit/inc`);
BAIL_OUT('no nginx headers') if $?;

my $compile = "$cc $flags $inc -I$root/src -I$root/src/proto -I$unit";

make_path($build);
END { local $?; system('rm', '-rf', $build) if !$ENV{TEST_VMESS_UNIT}; }

my @objects;

for my $file (glob("$root/src/proto/*.c"),
              "$root/src/event/ngx_vmess_replay.c",
              "$root/src/event/ngx_vmess_token.c",
              "$root/src/event/ngx_vmess_registry.c",
              "$root/src/event/ngx_vmess_usage.c",
              "$root/src/event/ngx_vmess_slot.c",
              "$root/src/event/ngx_vmess_hit.c",
              glob("$root/src/event/ngx_vmess_table*.c"),
              "$unit/stub.c", "$unit/test.c", "$unit/table_user.c")
{
    push(@objects, "$build/" . basename($file, '.c') . '.o');
    system("$compile -c -o $objects[-1] $file") == 0
        or BAIL_OUT("$file does not compile");
}

run($_) for @ARGV ? @ARGV : @tests;

done_testing();


sub run {
    my ($name) = @_;

    my $program = "$build/ngx_vmess_$name.test";
    my $input = "$build/$name.in";
    my $passed = 0;

    my @linked = @objects;

    if (my $file = $file{$name}) {
        unshift(@linked, "$build/" . basename($file, '.c') . '.o');
        system("$compile -c -o $linked[0] $file") == 0
            or BAIL_OUT("$file does not compile");
    }

    system("$compile -o $program $unit/ngx_vmess_$name.c @linked -lcrypto") == 0
        or BAIL_OUT("ngx_vmess_$name.c does not compile");

    open(my $in, '>', $input) or die "$input: $!";
    print $in map { line(@$_) } cases($name);
    close($in);

    open(my $out, '-|', "$program < $input") or die "$program: $!";

    my %out;

    while (my $line = <$out>) {
        if ($line =~ /^(not )?ok - (.*)/) {
            my ($bad, $title) = ($1, $2);

            $title =~ s/([^ -~])/sprintf('\x%02x', ord($1))/eg;
            ok(!$bad, "$name: $title");
            $passed++;

        } elsif ($line =~ /^out (\S+) ([0-9a-f]*)$/) {
            $out{$1} = $2;

        } else {
            diag($line);
        }
    }

    close($out);

    is($?, 0, "$name: exit status");
    Profile::check(\%out) if %out;
    ok($passed, "$name: has tests");
}


# [word, name, value, ...] of each case of a test

sub cases {
    my ($name) = @_;

    return kdf_cases() if $name eq 'kdf';
    return auth_cases() if $name eq 'auth';
    return header_cases() if $name eq 'header';
    return legacy_cases() if $name eq 'legacy';
    return chunk_cases() if $name eq 'chunk';
    return mux_cases() if $name eq 'mux';
    return ws_cases() if $name eq 'ws';
    return grpc_cases() if $name eq 'grpc';
    return http_cases() if $name eq 'http';
    return kcp_cases() if $name eq 'kcp_packet';
    return Profile::cases() if $name eq 'profile';
    return ();
}


sub kdf_cases {
    my $vectors = vectors('vmess_kdf');
    my @cases;

    for my $c (@{$vectors->{cases}}) {
        my @path = @{$c->{path}};
        push(@cases, ['kdf', key => $c->{key}, out => $c->{out},
                      map { ("path$_" => $path[$_]) } 0 .. $#path]);
    }

    for my $c (@{$vectors->{uuid_text}{cases}}) {
        my $text = $c->{text};
        utf8::encode($text);

        push(@cases, ['id', text => unpack('H*', $text),
                      $c->{error} ? ()
                      : (id => uuid($c->{uuid}), cmd_key => $c->{cmd_key})]);
    }

    for my $c (@{$vectors->{accounts}{cases}}) {
        push(@cases, ['account', id => uuid($c->{uuid}),
                      cmd_key => $c->{cmd_key},
                      aes_key => $c->{authid_aes_key},
                      alter_ids => join('', map { uuid($_) }
                                            @{$c->{alter_ids_first4}})]);
    }

    return @cases;
}


sub auth_cases {
    my @cases;

    for my $c (@{vectors('vmess_aead_request')->{cases}}) {
        push(@cases, ['request', now => 1735689600,
                      good => abs($c->{time} - 1735689600) <= 120 ? 1 : 0,
                      map { ($_ => $c->{$_}) } qw(name time cmd_key authid)]);
    }

    return @cases;
}


sub header_cases {
    my @cases;

    for my $c (@{vectors('vmess_aead_request')->{cases}}) {

        # address as it is on the wire, after the port

        my $wire = $c->{addr_port_type} || '';
        my $type = $c->{cmd} == 3 ? 0 : hex(substr($wire, 4, 2));

        push(@cases, ['request', type => $type,
                      addr => $type == 0 ? ''
                              : substr($wire, $type == 2 ? 8 : 6),
                      plain => $c->{header_plain},
                      map { ($_ => $c->{$_}) } qw(name wire cmd_key body_iv
                          body_key resp_v opt sec cmd port)]);
    }

    for my $c (@{vectors('auth_bad')->{cases}}) {

        # any version may be accepted; security 0 is refused, and so is all
        # that came before the AEAD header

        my $accept = $c->{want} =~ /^accept/
                     && $c->{name} !~ /^(security-0$|legacy-)/;

        next if $c->{name} =~ /^legacy-/ && $c->{repeat};

        push(@cases, ['bad', now => $c->{server_time},
                      users => join('', map { uuid($_->{uuid}) }
                                        @{$c->{users}}),
                      short => $c->{stage} eq 'short' ? 1 : 0,
                      accept => $accept ? 1 : 0,
                      $c->{wire_last} ? (last => $c->{wire_last}) : (),
                      $c->{repeat} ? (repeat => $c->{repeat}) : (),
                      name => $c->{name}, wire => $c->{wire}]);
    }

    for my $c (@{vectors('vmess_aead_response')->{cases}}) {
        push(@cases, ['response', key => $c->{resp_key}, iv => $c->{resp_iv},
                      plain => $c->{header_plain},
                      switch_fields($c->{switch}),
                      map { ($_ => $c->{$_}) } qw(name wire body_key body_iv
                          resp_v len_key len_nonce hdr_key hdr_nonce)]);
    }

    for my $c (@{vectors('vmess_legacy_response')->{cases}}) {
        push(@cases, ['legacy_response', key => $c->{resp_key},
                      iv => $c->{resp_iv}, plain => $c->{header_plain},
                      switch_fields($c->{switch}),
                      map { ($_ => $c->{$_}) } qw(name wire body_key body_iv
                          resp_v)]);
    }

    return @cases;
}


sub switch_fields {
    my ($sw) = @_;

    return () unless $sw;
    return (host => unpack('H*', $sw->{host}), id => uuid($sw->{uuid}),
            port => $sw->{port}, alter_id => $sw->{alter_ids},
            level => $sw->{level}, minutes => $sw->{valid_min});
}


sub legacy_cases {
    my @cases;

    for my $c (@{vectors('vmess_legacy_request')->{cases}}) {
        my $wire = $c->{addr_port_type} || '';
        my $type = $c->{cmd} == 3 ? 0 : hex(substr($wire, 4, 2));

        # which id of the chain; the first is that of the user

        push(@cases, ['request', type => $type,
                      addr => $type == 0 ? ''
                              : substr($wire, $type == 2 ? 8 : 6),
                      nth => $c->{alter_id} ? $c->{alter_index} + 1 : 0,
                      id => uuid($c->{uuid}), auth_id => uuid($c->{auth_uuid}),
                      map { ($_ => $c->{$_}) } qw(name wire time auth cmd_key
                          body_iv body_key resp_v opt sec cmd port)]);
    }

    # of real clients; what follows the header is cut off

    my $captures = vectors('peer_captures');

    for my $c (@{$captures->{cases}}) {
        my $d = $c->{decoded};

        next unless $d->{header} eq 'legacy';

        my $len = 16 + length($d->{header_plain}) / 2;

        push(@cases, ['request', name => $c->{name}, type => 2,
                      addr => unpack('H*', $d->{addr}), nth => $d->{id_index},
                      wire => substr($c->{vmess_stream}, 0, 2 * $len),
                      auth => substr($c->{vmess_stream}, 0, 32),
                      id => uuid($captures->{account}{uuid}),
                      map { ($_ => $d->{$_}) } qw(time body_iv body_key resp_v
                          opt sec cmd port)]);
    }

    # the others of these vectors have the AEAD header

    for my $c (@{vectors('auth_bad')->{cases}}) {
        next unless $c->{name} =~ /^(legacy|random|http|tls)-/;

        my @users = grep { $_->{alter_id} && !$c->{aead_forced} }
                         @{$c->{users}};

        push(@cases, ['bad', now => $c->{server_time},
                      users => join('', map { uuid($_->{uuid}) } @users),
                      alter_ids => join(',', map { $_->{alter_id} } @users),
                      accept => $c->{want} eq 'accept' ? 1 : 0,
                      $c->{wire_last} ? (last => $c->{wire_last}) : (),
                      repeat => $c->{repeat} || 1,
                      name => $c->{name}, wire => $c->{wire}]);
    }

    return @cases;
}


sub chunk_cases {
    my $vectors = vectors('body_chunks');
    my $wrap = $vectors->{nonce_counter_wrap};
    my @cases;

    for my $c (@{$vectors->{cases}}) {
        push(@cases, ['body', len => $c->{body_len}, eos => $c->{eos} ? 1 : 0,
                      $c->{dir} eq 's2c' && $c->{header} eq 'legacy'
                      ? (v => $c->{resp_v}) : (),
                      map { ($_ => $c->{$_}) } qw(name sec opt cmd body_key
                          body_iv dir_key dir_iv)]);

        for my $chunk (@{$c->{chunks}}) {
            push(@cases, ['chunk', plain => $chunk->{plain_len},
                          k => $chunk->{pattern_k},
                          sha256 => $chunk->{wire_sha256},
                          defined $chunk->{wire} ? (wire => $chunk->{wire})
                          : (head => $chunk->{wire_head},
                             tail => $chunk->{wire_tail}),
                          map { ($_ => $chunk->{$_}) } qw(pad wire_len)]);
        }

        push(@cases, ['sha256', value => $c->{body_sha256}]);
    }

    push(@cases, ['wrap', chunks => $wrap->{chunk_count},
                  sha256 => $wrap->{wire_sha256},
                  map { ($_ => $wrap->{$_}) } grep { /^chunk_\d|^body|^opt|^sec/
                      || $_ eq 'wire_len' } sort keys %$wrap]);

    return @cases;
}


sub mux_cases {
    return mux_frame_cases(), xudp_cases();
}


# frames as text: status/id/option/target/Global ID=data

sub mux_frame_cases {
    my $vectors = vectors('mux_frames');
    my @status = qw(0 new keep end keepalive);
    my @cases;

    my %text = (
        'new-tcp-ipv4-nodata' => 'new/1/0/tcp:192.0.2.1:80',
        'new-tcp-domain-data' => 'new/2/1/tcp:www.example.com:443=68656c6c6f',
        'new-tcp-ipv6-data-then-keep-end' =>
            'new/3/1/tcp:[2001:db8::1]:8443=616263,keep/3/1=64656667,end/3/0',
        'new-udp-ipv4-noglobal' => 'new/4/1/udp:8.8.8.8:53=71',
        'new-udp-ipv4-zero-global' => 'new/5/1/udp:8.8.8.8:53=71',
        'new-udp-domain-global-then-keep-addr' =>
            'new/6/1/udp:stun.example.com:3478/0102030405060708=6f6e65,'
            . 'keep/6/1/udp:[2001:4860:4860::8888]:53=74776f,'
            . 'keep/6/1=7468726565',
        'response-keep-tcp' => 'keep/2/1=776f726c64,end/2/0',
        'response-keep-udp-addr' => 'keep/6/1/udp:8.8.8.8:53=616e73776572',
        'response-keep-nodata' => 'keep/2/0',
        'end-error' => 'end/7/2',
        'keepalive' => 'keepalive/0/0',
        'end-max-id' => 'end/65535/0',
        'new-tcp-reverse-source-local' => 'new/9/0/tcp:192.0.2.1:80',
    );

    for my $c (@{$vectors->{frames}}) {
        push(@cases, defined $c->{wire}
            ? ['frames', name => $c->{name}, wire => $c->{wire},
               text => $text{$c->{name}} // die "no text: $c->{name}"]
            : ['split', name => $c->{name}, id => 1, size => 20000,
               len => $c->{wire_len}, head => $c->{wire_head},
               sha256 => $c->{wire_sha256}]);
    }

    for my $i (0 .. $#{$vectors->{metadata_parse}}) {
        my $c = $vectors->{metadata_parse}[$i];
        my $wire = pack('H*', $c->{wire});
        my $meta = unpack('n', $wire);
        my $text;

        if ($c->{verdict} eq 'error') {

            # what is cut there can go on here

            $text = $meta >= 4 && $meta <= 512 && length($wire) < 2 + $meta
                    ? '+cut' : '!';

        } elsif ($c->{status} > 4) {
            $text = '!';

        } else {
            $text = "$status[$c->{status}]/$c->{id}/$c->{option}";
            $text .= "/$c->{target}" if $c->{target};
            $text .= "/$c->{global_id}" if $c->{global_id} =~ /[^0]/;

            # the data is not parsed there

            $wire = substr($wire, 0, 2 + $meta) unless $c->{option} & 1;
            $text .= '=' . unpack('H*', substr($wire, 4 + $meta))
                if $c->{option} & 1;
        }

        push(@cases, ['frames', name => "metadata-$i", text => $text,
                      wire => unpack('H*', $wire)]);
    }

    return @cases;
}


sub xudp_cases {
    my $vectors = vectors('xudp_frames');
    my @cases;

    for my $c (@{$vectors->{writer}}) {
        for my $i (0 .. $#{$c->{packets}}) {
            my $packet = $c->{packets}[$i];
            my $addr = $packet->{addr};
            my $data = $packet->{payload};
            my $wire = $packet->{frame};

            if ($data =~ /^(\d+) zero bytes$/) {
                $data = '00' x $1;
                $wire .= '00' x ($packet->{frame_len} - length($wire) / 2);
            }

            # Global ID is sent if the user's address is known

            my $text = $i ? 'keep/0/1'
                          : "new/0/1/udp:$c->{dest}:$c->{dest_port}";

            $text .= "/udp:$addr:$packet->{port}" if $i && $addr;
            $text .= "/$c->{global_id}"
                if $i == 0 && $addr && $c->{global_id} =~ /[^0]/;

            push(@cases, ['frames', name => "$c->{name}-$i", wire => $wire,
                          text => $wire eq '' ? '' : "$text=$data"]);
        }
    }

    for my $i (0 .. $#{$vectors->{reader}}) {
        my $c = $vectors->{reader}[$i];

        push(@cases, ['xudp', name => "xudp-reader-$i", wire => $c->{wire},
                      text => $c->{end}
                      || ($c->{from} ? "a$c->{from}:$c->{from_port}" : '-')
                         . "=$c->{payload}"]);
    }

    my @trace = (
        'new/0/1/udp:127.0.0.1:53/1111111111111111=6f6e65',
        'keep/0/1/udp:127.0.0.1:53=523a6f6e65',
        'keep/0/1=74776f',
        'keep/0/1/udp:127.0.0.1:53=523a74776f',
        'new/0/1/udp:127.0.0.1:53/1111111111111111=7468726565',
        'keep/0/1/udp:127.0.0.1:53=523a7468726565',
        'end/0/0',
        'keep/0/1=6c617465',
        'end/0/0',
        'new/0/1/udp:127.0.0.1:53/1111111111111111=666f7572',
        'keep/0/1/udp:127.0.0.1:53=523a666f7572',
    );

    for my $step (@{$vectors->{reconnect_trace}{steps}}) {
        for my $side (grep { $step->{$_} } qw(send expect also_on_A)) {
            push(@cases, ['frames', name => "trace-$#trace-$side",
                          text => shift(@trace) // die('long trace'),
                          wire => $step->{$side}]);
        }
    }

    die 'short trace' if @trace;

    return @cases;
}


sub ws_cases {
    my $vectors = vectors('websocket_early_data');
    my @cases;

    my $case = sub {
        my ($name, $value, $data) = @_;
        push(@cases, ['value', name => $name, value => unpack('H*', $value),
                      $data ne '' ? (data => $data) : ()]);
    };

    for my $c (@{$vectors->{encoding}}) {
        my $value = $c->{header_value};
        $case->("of-$c->{len}-bytes", $value, $c->{early_data});

        # base64 with padding is the same

        $value =~ tr{-_}{+/};
        $value .= '=' x (-length($value) % 4);
        $case->("of-$c->{len}-bytes-in-base64", $value, $c->{early_data});
    }

    for my $c (@{$vectors->{captured_clients}}, @{$vectors->{server_answers}}) {
        my ($value) = $c->{request}
            =~ /^(?:Sec-WebSocket-Protocol|X-Early): *(.*?)\r$/m;
        ($value) = $c->{request} =~ m{^GET /ray/(\S*)} unless defined $value;

        $case->($c->{name}, $value // '',
                $c->{early_data} // $c->{early_data_by_xray_rule})
            unless $c->{name} eq 'path-prefix-longer';
    }

    # both alphabets in one value, padding in the middle, and what is none

    $case->('of-two-alphabets', '_/-+', 'ffffbe');
    $case->('with-padding-inside', 'AA==AA', '000000');
    $case->('of-one-character', 'A', '');
    $case->('of-a-character-too-many', 'AAAAA', '');
    $case->('of-a-character-too-many-with-padding', 'AAAAAAAAA===', '');
    $case->('of-padding', '==', '');
    $case->('with-a-space', 'AA AA', '');

    return @cases;
}


sub grpc_cases {
    my @cases;

    for my $c (@{vectors('grpc_frames')->{cases}}) {
        my @sizes = @{$c->{sizes}};

        push(@cases, ['frame', sizes => join(',', @sizes),
                      name => "$c->{kind}-of-"
                              . (join('+', @sizes) || 'nothing'),
                      fields => scalar @sizes, len => $c->{frame_len},
                      defined $c->{frame} ? (frame => $c->{frame})
                      : (head => $c->{frame_head},
                         sha256 => $c->{frame_sha256})]);
    }

    return @cases;
}


sub kcp_cases {
    my $vectors = vectors('mkcp_segments');
    my @cases;

    my %field = (sn => 'number', ts => 'timestamp', una => 'sending_next',
                 snd_nxt => 'sending_next', rcv_nxt => 'receiving_next',
                 rwnd => 'receiving_window', rto => 'rto', conv => 'conv',
                 cmd => 'command', opt => 'opt', payload => 'data');

    for my $c (@{$vectors->{segments}}) {
        my @data = map { unpack('H*', pack('N*', @$_)) } $c->{numbers} || ();

        push(@cases, ['segment', name => $c->{name}, plain => $c->{plain},
                      map({ (data => $_) } @data),
                      map { ($field{$_} => $c->{$_}) }
                          grep { $field{$_} } sort keys %$c]);
    }

    for my $c (@{$vectors->{datagrams}}) {
        my $seed = $c->{seed} // '';
        utf8::encode($seed);

        push(@cases, ['datagram', seal => $c->{scheme},
                      header => $c->{header} // 'none',
                      index => $c->{index} // 0,
                      seed => unpack('H*', $seed),
                      random => ($c->{nonce} // '00' x 12) . '0000',
                      map { ($_ => $c->{$_}) } qw(name plain wire)]);
    }

    my ($hello) = map { $_->{plain} } grep { $_->{name} eq 'data-hello' }
                      @{$vectors->{segments}};

    for my $c (@{$vectors->{dns_header}{cases}}) {
        push(@cases, ['datagram', seal => 'simple', header => 'dns',
                      index => 0, random => '00' x 14, seed => '',
                      name => "dns-$c->{domain}", plain => $hello,
                      domain => unpack('H*', $c->{domain}),
                      wire => $c->{datagram_simple_with_zero_id}]);
    }

    for my $c (@{$vectors->{bad}}) {
        push(@cases, ['bad', seal => $c->{scheme},
                      map { ($_ => $c->{$_}) } qw(name wire)]);
    }

    return @cases;
}


sub http_cases {
    my @cases;

    for my $c (@{vectors('peer_captures')->{cases}}) {
        next unless $c->{name} =~ /tcp-http|http1/;

        my ($head) = @{$c->{http_requests}};
        my ($path) = $head =~ /^\S+ (\S+)/;
        my ($host) = $head =~ /^Host: (.*?)\r$/m;

        push(@cases, ['captured', name => $c->{name}, path => $path,
                      host => $host, head => unpack('H*', $head),
                      rest => $c->{vmess_stream}]);
    }

    return @cases;
}


sub vectors {
    my ($name) = @_;

    open(my $file, '<', "$root/t/vectors/$name.json") or die "$name: $!";
    local $/;

    return decode_json(<$file>);
}


sub uuid {
    my ($text) = @_;

    $text =~ tr/-//d;

    return $text;
}


sub line {
    my ($word, %fields) = @_;

    return join(' ', $word, map { "$_=$fields{$_}" } sort keys %fields) . "\n";
}
