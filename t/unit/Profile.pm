package Profile;

# Cases for ngx_vmess_profile.c, and what a reader of its own makes of what it
# wrote: every name and every field is there again, or its server is left out as
# it should be.

use warnings;
use strict;

use Encode qw(decode encode);
use JSON::PP;
use Test::More;

use VMess::Share qw(read_link read_profile);

my @FORMATS = qw(v2rayn uri shadowrocket mihomo clash singbox surge qx loon);
my @FORMS = qw(v2rayn uri shadowrocket);
my @TRANSPORTS = qw(tcp http ws httpupgrade grpc h2 xhttp kcp quic);
my @SECURITIES = qw(auto aes-128-gcm chacha20-poly1305 none zero);

my %BASE = (name => 'node', host => 'srv.example', port => 443, tls => 1,
            transport => 'tcp', security => 'auto', path => '', http_host => '',
            mode => '', header => '', seed => '', early_data => 0, sni => '',
            alpn => '', fp => '',
            id => 'b831381d-6324-4d53-ad4f-8cda48b30811');

# names are bytes

my @NAMES = map { encode('UTF-8', $_) } (
    'plain', "\x{540d}\x{524d} with space", q{O'Brien "q"}, 'a,b=c', '=,',
    "line\nbreak", "a\r\n[Proxy]\r\nx = direct", '</script><script>alert(1)',
    "\x{1f600}\x{1f468}\x{200d}\x{1f469}", '@lead', '#hash', '// comment',
    ';semicolon', '[section]', '- {a: b}', 'a: b', 'a #b', '&anchor *alias !tag',
    '%41%20+', '?&=#/', '<!--', '${x}', '`tick`', 'vmess://abc', '|pipe',
    'back\\slash', "tab\there", "\x7f", "a\x{85}b\x{2028}c\x{2029}d\x{feff}",
    'null', 'true', '1e3', '0x10', '~', 'x' x 64, "\x{e9}" x 32, '  blanks  ',
    "\0nul\0", 'a/b', 'http://a//b', 'DIRECT', 'proxy', 'Proxy', "{{ a }}",
    "\x{fffe}\x{ffff}", 'plain', 'plain', "\x{10ffff}",
), "\xff\xfea\xc3", '', " \n ", "\x80", encode('UTF-8', "\x{e9}" x 200),
   'a' . "\x80" x 300;

my (%profiles, %links);


# ---- what is to be written

sub cases {
    my @cases;

    profile_cases(\@cases, [map { { %BASE, name => $_ } } @NAMES]);
    profile_cases(\@cases, []);

    for my $transport (@TRANSPORTS) {
        my @all = map { { %BASE, transport => $transport,
                          path => $transport eq 'tcp' ? '' : '/p', %$_ } }
                  variants($transport);

        profile_cases(\@cases, [@all]);
        link_cases(\@cases, { %$_, vector => "longest-$transport" }) for grep { length $_->{name} == 255 } @all;
    }

    link_cases(\@cases, vector($_)) for vectors();

    push @cases, check_cases();

    return @cases;
}


sub variants {
    my ($transport) = @_;

    my @all = (
        { name => 'a' }, { name => 'plain text', tls => 0 },
        { name => 'address', host => '192.0.2.1', port => 65535, sni => 's.example' },
        { name => 'ipv6', host => '2001:db8::1', port => 1 },
        { name => 'ipv6 plain', host => '2001:db8::1', tls => 0 },
        { name => 'all', sni => 'sni.example', alpn => 'h2,http/1.1',
          fp => 'chrome', http_host => 'cdn.example', path => '/ray?a=1&b=%20',
          mode => $transport eq 'grpc' ? 'multi' : 'stream-one',
          header => 'wechat-video', seed => "s\x{65}ed \"q\" \\ \xc3\xa9,=" },
        { name => 'same', http_host => 'h.example', sni => 'h.example',
          alpn => 'h2' },
        { name => 'other', http_host => 'a.example', sni => 'b.example' },
        { name => 'host plain', http_host => 'a.example:8080', tls => 0 },
        { name => 'early', early_data => 2048 },
        { name => 'early query', early_data => 1, path => '/p?x=y' },
        (map { { name => "path $_", path => "/a${_}b" } }
             ',', ';', '"', "'", '|', '\\', '=', '&', '%2F', '<', '}', ':'),
        (map { { name => "cipher $_", security => $_ } } @SECURITIES),
        { name => 'root', path => '/' },
        { name => 'long', map { $_ => 'x' x 255 }
                          qw(host http_host sni alpn) },
    );

    $_->{tls} = $transport eq 'kcp' ? 0 : 1 for grep { $transport =~ /kcp|quic/ } @all;

    # of the longest texts, what becomes longer still
    my ($long) = grep { $_->{name} eq 'long' } @all;
    $long->{path} = '/' . '"' x 1023;
    $long->{seed} = "\1" x 255;
    $long->{name} = 'a' . "\1" x 253 . 'z';

    return @all if $transport ne 'grpc';

    # a name of a service has no slash, and may be empty

    $_->{path} = ($_->{path} // 'p') =~ s{^/}{}r for @all;

    return @all, map { { name => "service $_", path => $_ } }
                     'GunService', '/a/b/Method';
}


sub profile_cases {
    my ($cases, $shares) = @_;

    my @shares = @$shares;

    while (1) {
        my @some = splice @shares, 0, 60;

        push @$cases, map { share_case('share', $_) } @some;

        for my $i (0 .. $#FORMATS) {
            my $n = keys %profiles;

            $profiles{$n} = [$FORMATS[$i], @some];
            push @$cases, ['profile', format => $i, n => $n,
                           title => "$FORMATS[$i]-$n"];
        }

        push @$cases, ['forget'];

        return unless @shares;
    }
}


# a link of each form

sub link_cases {
    my ($cases, $share) = @_;

    push @$cases, share_case('share', $share);

    for my $i (0 .. $#FORMS) {
        my $n = keys %links;
        my $declined = lacks($FORMS[$i], $share) ? 1 : 0;

        $links{$n} = [$FORMS[$i], $share];
        delete $links{$n} if $declined;
        push @$cases, ['link', form => $i, n => $n, declined => $declined,
                       title => "$FORMS[$i]-$share->{vector}"];
    }

    push @$cases, ['forget'];
}


sub share_case {
    my ($word, $share, %more) = @_;

    my %case = (%$share, %more);

    delete $case{vector};
    delete $case{want} unless $word eq 'check';
    $case{id} =~ tr/-//d;
    $case{transport} = index_of($case{transport}, @TRANSPORTS);
    $case{security} = index_of($case{security}, @SECURITIES);
    $case{$_} = unpack('H*', $case{$_})
        for grep { defined $case{$_} }
            qw(name host path http_host mode header seed sni alpn fp want);

    return [$word, %case];
}


sub index_of {
    my ($word, @words) = @_;

    for (0 .. $#words) {
        return $_ if $words[$_] eq $word;
    }

    die "no such word: $word";
}


sub check_cases {
    my @fp = qw(chrome firefox safari ios android edge 360 qq random randomized);
    my $path = 'an invalid path, "path=" must be written as in a request, and'
        . ' begin with "/" but for gRPC';
    my %bad = (host => "an invalid host", http_host => 'an invalid Host',
               sni => 'an invalid SNI', alpn => 'an invalid ALPN',
               fp => unknown('fingerprint', @fp));
    my @cases;

    for my $field (sort keys %bad) {
        push @cases, map { { $field => $_, want => $bad{$field} } }
                     'a b', "a\n", "\xc3\xa9", '<', 'x' x 256;
    }

    push @cases, map { { alpn => $_, want => 'an invalid ALPN' } }
                 ',', 'h2,', ',h2', 'h2,,http/1.1';

    push @cases, { host => '', want => 'no host' }, { port => 0, want => 'no port' },
        { seed => 'x' x 256, want => 'an invalid seed' },
        { seed => "\xc3", want => 'an invalid seed' },
        { seed => "\xff", want => 'an invalid seed' },
        { transport => 'kcp', want => 'TLS over mKCP' },
        { transport => 'kcp', tls => 0 },
        { transport => 'quic', tls => 0, want => 'no TLS over QUIC' },
        { name => '' }, { name => 'x' x 1000 };

    for ([grpc => mode => qw(gun multi)],
         [xhttp => mode => qw(auto packet-up stream-up stream-one)],
         [kcp => header => qw(none srtp utp wechat-video dtls wireguard dns)],
         [ws => fp => @fp])
    {
        my ($transport, $field, @words) = @$_;
        my %base = (transport => $transport, tls => $transport eq 'kcp' ? 0 : 1,
                    path => '/p');

        push @cases, map { { %base, $field => $_ } } @words;
        my $want = unknown($field eq 'fp' ? 'fingerprint' : $field, @words);
        push @cases, map { { %base, $field => $_, want => $want } }
                     'x', 'chrom', 'gunn', 'DTLS';
    }

    for my $transport (qw(http ws httpupgrade h2 xhttp)) {
        push @cases, map { { transport => $transport, path => $_,
                             want => $path } }
                     '', 'ray', '/a#b', '/a b', "/\xc3\xa9", '/' x 1025;
        push @cases, { transport => $transport, path => '/' x 1024 };
    }

    return map { share_case('check', { %BASE, %$_ }, want => $_->{want} // '') }
           @cases;
}


sub unknown {
    my ($param, @words) = @_;

    my $last = pop @words;

    return qq(an unknown $param, "$param=" must be )
           . join(', ', map { qq("$_") } @words) . qq( or "$last");
}


# ---- vectors

sub vectors {
    my $file = $INC{'Profile.pm'} =~ s{[^/]+$}{../vectors/share_links.json}r;

    open(my $in, '<', $file) or die "$file: $!";
    local $/;

    # ours have no alter ids, and no XUDP to turn off
    return grep { ref $_->{want} && !$_->{want}{alter_id} }
           @{ decode_json(<$in>)->{cases} };
}


sub vector {
    my ($case) = @_;

    my $w = $case->{want};
    my %share = (%BASE, vector => $case->{name}, name => $w->{name},
        host => $w->{server}, port => $w->{port}, id => $w->{uuid},
        security => $w->{cipher}, transport => $w->{network} =~ s/tcp\+//r,
        tls => $w->{tls} ? 1 : 0, sni => $w->{sni},
        alpn => join(',', @{ $w->{alpn} }), http_host => $w->{host},
        path => $w->{service_name} || $w->{path}, early_data => $w->{early_data},
        seed => $w->{kcp_seed} // '');

    $share{mode} = $w->{header_type} if $share{transport} eq 'grpc'
                                        && $w->{header_type} ne 'none';
    $share{header} = $w->{header_type} if $share{transport} eq 'kcp';
    $share{name} = encode('UTF-8', $share{name});

    return \%share;
}


# ---- what was written

sub check {
    my ($out) = @_;

    for my $n (sort { $a <=> $b } keys %links) {
        my ($form, $share) = @{ $links{$n} };
        my $link = pack('H*', $out->{"link$n"} // '');

        same("link $form of $share->{vector}", eval { read_link($link) },
             expected($form, $share));
    }

    for my $n (sort { $a <=> $b } keys %profiles) {
        my ($format, @shares) = @{ $profiles{$n} };
        check_profile("$format $n", $format, pack('H*', $out->{"profile$n"} // ''),
                      @shares);
    }
}


sub check_profile {
    my ($title, $format, $bytes, @shares) = @_;

    SKIP: {
        skip 'there is no PyYAML', 1
            if $format =~ /mihomo|clash/ && !has_yaml();

        my @servers = eval { read_profile($format, $bytes) };

        is($@, '', "$title can be read") or return;

        my %seen = map { $_ => 1 } qw(Proxy DIRECT REJECT REJECT-DROP PASS
                                      COMPATIBLE GLOBAL proxy direct);
        my ($i, $without) = (0, 0);

        for my $share (@shares) {
            my $name = name($share);

            $i++;
            $name .= " $i" if $seen{label(chars($name))}++;

            if (lacks($format, $share)) {
                $without++;
                next;
            }

            same("$title, share $i", shift @servers,
                 expected($format, { %$share, name => $name }));
        }

        is(@servers, 0, "$title has no other server");

        is(() = ($bytes =~ /^# without /mg), $without,
           "$title tells what is left out")
            if $format =~ /mihomo|clash|surge|qx|loon/;
    }
}


my $yaml;

sub has_yaml {
    return $yaml //= system("python3 -c 'import yaml' 2>/dev/null") == 0 ? 1 : 0;
}


# what the format says of a server is what the server is

sub same {
    my ($title, $got, $want) = @_;

    my @wrong = grep { flat($got->{$_}) ne flat($want->{$_}) } keys %$got;

    ok($got && !@wrong, $title)
        or diag(map({ "$_: \"" . flat($got->{$_}) . '" instead of "'
                      . flat($want->{$_}) . "\"\n" } @wrong), $@ // '');
}


sub flat {
    my ($value) = @_;

    return ref $value ? join(',', @$value) : encode('UTF-8', $value // 'undef');
}


sub name {
    my ($share) = @_;

    my $name = $share->{name} =~ s/^[\0- ]+//r;

    $name = whole($name) if length $name > 255;
    $name =~ s/[\0- ]+\z//;

    return length $name ? $name : $share->{host};
}


# the longest beginning that ends where a character does

sub whole {
    my ($name) = @_;

    my $len = 255;

    $len-- while $len && substr($name, $len, 1) =~ /[\x80-\xbf]/;

    return substr($name, 0, $len);
}


sub expected {
    my ($format, $share) = @_;

    my $net = $share->{transport};
    my $sni = $share->{tls} ? $share->{sni} || $share->{host} : '';
    my $host = $share->{http_host} || $sni || $share->{host};

    $host = '' if !$share->{http_host} && $host =~ /:/
                  || $net =~ /^(tcp|kcp|quic)$/;
    $host = $share->{http_host} if $net eq 'grpc';

    my $name = chars($share->{name});
    $name = label($name) if $format =~ /surge|qx|loon/;

    return { name => $name, server => $share->{host}, port => $share->{port},
             uuid => $share->{id}, cipher => $share->{security}, network => $net,
             tls => $share->{tls}, sni => $sni, host => $host,
             alpn => $share->{tls} ? [grep { length } split /,/, $share->{alpn}]
                                   : [],
             fp => $share->{tls} ? $share->{fp} : '',
             path => $net eq 'tcp' ? '' : $share->{path},
             early_data => $net =~ /^(ws|httpupgrade)$/ ? $share->{early_data} : 0,
             mode => $share->{mode} || ($net eq 'grpc' ? 'gun' : 'auto'),
             header => $share->{header} || 'none', seed => chars($share->{seed}) };
}


# as nginx counts them: what cannot go on is one

sub chars {
    return decode('UTF-8', "$_[0]", sub { "\x{fffd}" });
}


sub label {
    my ($name) = @_;

    $name =~ tr/\0-\x1f/ /;
    $name =~ s/[\x7f-\x9f\x{2028}\x{2029}\x{feff}]/\x{fffd}/g;
    $name =~ s{([,="'#;\[\]\\]|/(?=/))}{chr(ord($1) + 0xfee0)}ge;

    return $name;
}


# whether a client does not take a server

sub lacks {
    my ($format, $s) = @_;

    my $t = $s->{transport};
    my $none = $s->{security} eq 'none';
    my $empty = $t eq 'grpc' && $s->{path} eq '' ? 1 : 0;
    my $method = $t eq 'grpc' && $s->{path} =~ m{^/} ? 1 : 0;
    my $zero = $s->{security} eq 'zero';
    my $line = $t ne 'tcp' && $s->{path} =~ /[,;"'|\\]/;

    my %lacks = (
        v2rayn => 0,
        uri => 0,
        shadowrocket => $t =~ /kcp|quic/ || $method,
        mihomo => $t =~ /xhttp|kcp|quic/ || $t =~ /grpc|h2/ && !$s->{tls}
                  || $method || $empty,
        clash => $t =~ /xhttp|kcp|quic|upgrade/ || $zero
                 || $t =~ /grpc|h2/ && !$s->{tls} || $method || $empty,
        singbox => $t =~ /^http$|xhttp|kcp/ || $method,
        surge => $t !~ /^(tcp|ws)$/ || $none || $zero || $line,
        qx => $t !~ /^(tcp|ws|http)$/ || $zero || $line
              || $t eq 'http' && $s->{tls}
              || $t eq 'ws' && $s->{tls} && $s->{http_host}
                 && $s->{http_host} ne ($s->{sni} || $s->{host}),
        loon => $t !~ /^(tcp|ws|http)$/ || $zero || $line,
    );

    return $lacks{$format};
}


1;
