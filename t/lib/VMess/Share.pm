package VMess::Share;

# Reads share links and subscriptions as clients do, and shares nothing with
# src: a server becomes a hash of name, server, port, uuid, cipher, network, tls,
# and of what its form can say of sni, alpn, fp, host, path, early_data, mode,
# header and seed.  The networks are tcp, http, ws, httpupgrade, grpc, h2,
# xhttp, kcp, quic.  Texts are characters.

use warnings;
use strict;

use Encode qw(decode FB_CROAK);
use Exporter qw(import);
use JSON::PP;
use MIME::Base64 qw(decode_base64);

our @EXPORT_OK = qw(read_link read_profile);

my %PROFILE = (v2rayn => \&list, uri => \&list, shadowrocket => \&list,
               mihomo => \&clash, clash => \&clash, singbox => \&singbox,
               surge => \&surge, qx => \&qx, loon => \&loon);


# bytes of a subscription in a format: its servers, or dies

sub read_profile {
    my ($format, $bytes) = @_;

    return $PROFILE{$format}->($bytes);
}


sub read_link {
    my ($link) = @_;

    $link =~ m{^vmess://([A-Za-z0-9+/]+=*)$} and return v2rayn($1);
    $link =~ m{^vmess://([A-Za-z0-9+/]+=*)\?([^#]*)$}
        and return shadowrocket($1, $2);
    $link =~ m{^vmess://([0-9a-f-]{36})@(\[[0-9a-f:.]+\]|[^:/?#]+):(\d+)
               \?([^#]*)\#([^#]*)$}x
        and return uri($1, $2, $3, $4, $5);

    die "not a link: $link\n";
}


sub list {
    my ($bytes) = @_;

    $bytes =~ m{^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==
                 |[A-Za-z0-9+/]{3}=)?$}x or die "not Base64: $bytes\n";

    my $text = decode_base64($bytes);

    die "no end of the last line\n" if length $text && $text !~ /\n\z/;

    return map { read_link($_) } split /\n/, $text;
}


sub v2rayn {
    my ($base64) = @_;

    my $json = decode_base64($base64);
    my $o = JSON::PP->new->utf8->decode($json);
    my %seen;

    $seen{$1}++ && die "\"$1\" is there twice\n" while $json =~ /[{,]"(\w+)":/g;

    for (keys %$o) {
        die "\"$_\" is no string\n" if ref $o->{$_};
    }

    die "aid, v\n" if $o->{aid} ne '0' || $o->{v} ne '2';

    my $net = $o->{net};
    my $path = $o->{path};
    my %s = (name => $o->{ps}, server => $o->{add}, port => $o->{port},
             uuid => $o->{id}, cipher => $o->{scy},
             network => $net eq 'tcp' && $o->{type} eq 'http' ? 'http' : $net,
             tls => $o->{tls} eq 'tls' ? 1 : 0, sni => $o->{sni},
             alpn => [split /,/, $o->{alpn} // ''], fp => $o->{fp} // '');

    if ($net eq 'kcp') {
        @s{qw(header seed)} = ($o->{type}, $path);

    } elsif ($net eq 'quic') {
        die "quic\n" if $o->{host} ne 'none' || $o->{type} ne 'none' || $path ne '';

    } else {
        $s{host} = $o->{host};
        $s{mode} = $o->{type} if $net =~ /^(grpc|xhttp)$/;
        @s{qw(path early_data)} = early($net, $path);
    }

    return \%s;
}


sub early {
    my ($net, $path) = @_;

    return ($path, 0) if $net !~ /^(ws|httpupgrade)$/;

    my $early = $path =~ s/([?&])ed=(\d+)$// ? $2 : 0;

    return ($path, $early);
}


sub uri {
    my ($uuid, $host, $port, $query, $name) = @_;

    my $q = query($query);
    my $net = { tcp => 'tcp', http => 'h2' }->{$q->{type}} // $q->{type};

    $net = 'http' if $net eq 'tcp' && $q->{headerType} eq 'http';
    $host =~ s/^\[(.*)\]$/$1/;

    my %s = (name => unpercent($name), server => $host, port => $port,
             uuid => $uuid, cipher => $q->{encryption}, network => $net,
             tls => { none => 0, tls => 1 }->{$q->{security}},
             sni => $q->{sni} // '', alpn => [split /,/, $q->{alpn} // ''],
             fp => $q->{fp} // '');

    if ($net eq 'kcp') {
        @s{qw(header seed)} = ($q->{headerType}, $q->{seed} // '');

    } elsif ($net eq 'grpc') {
        @s{qw(path mode host early_data)}
            = ($q->{serviceName} // '', $q->{mode}, $q->{authority} // '', 0);

    } elsif ($net ne 'quic') {
        $s{host} = $q->{host} // '';
        @s{qw(path early_data)} = early($net, $q->{path} // '');
        $s{mode} = $q->{mode} if $net eq 'xhttp';

        # in mihomo's way as well
        die "ed\n" if $net eq 'ws' && ($q->{ed} // 0) != $s{early_data};
    }

    return \%s;
}


sub shadowrocket {
    my ($base64, $query) = @_;

    my $q = query($query);
    my ($cipher, $uuid, $host, $port) = decode_base64($base64)
        =~ /^([a-z0-9-]+):([0-9a-f-]{36})@(\[.*\]|[^:]*):(\d+)$/
        or die "not Shadowrocket's\n";
    my $net = { none => 'tcp', websocket => 'ws' }->{$q->{obfs}} // $q->{obfs};

    $host =~ s/^\[(.*)\]$/$1/;

    my %s = (name => $q->{remarks}, server => $host, port => $port,
             uuid => $uuid, cipher => $cipher, network => $net,
             tls => $q->{tls} // 0, sni => $q->{peer} // '',
             alpn => [split /,/, $q->{alpn} // '']);

    if ($net eq 'grpc') {
        $s{path} = $q->{path} // '';

    } else {
        $s{host} = $q->{obfsParam} // '';
        @s{qw(path early_data)} = early($net, $q->{path} // '');
    }

    $s{mode} = $q->{mode} if $net eq 'xhttp';

    return \%s;
}


sub query {
    my %q;

    for (split /&/, $_[0]) {
        my ($key, $value) = /^(\w+)=([A-Za-z0-9._~%-]*)$/
            or die "argument \"$_\"\n";
        die "\"$key\" is there twice\n" if exists $q{$key};
        $q{$key} = unpercent($value);
    }

    return \%q;
}


sub unpercent {
    my ($s) = @_;

    die "\"$s\" in a URI\n" if $s !~ /^[A-Za-z0-9._~%-]*$/;
    $s =~ s/%([0-9A-F]{2})/chr hex $1/ge;

    return decode('UTF-8', $s, FB_CROAK);
}


sub clash {
    my ($bytes) = @_;

    my $o = yaml($bytes);
    my @servers = map { clash_proxy($_) } @{ $o->{proxies} // [] };
    my @group = @{ $o->{'proxy-groups'}[0]{proxies} };

    die "group\n" if join("\0", @group)
                     ne join("\0", (map { $_->{name} } @servers), 'DIRECT')
                  || $o->{rules}[0] ne 'MATCH,Proxy'
                  || $o->{'proxy-groups'}[0]{name} ne 'Proxy';
    unique(@group, 'Proxy', qw(REJECT GLOBAL PASS));

    return @servers;
}


sub clash_proxy {
    my ($p) = @_;

    my $net = $p->{network};
    my $opts = $p->{"$net-opts"};
    my %s = (name => $p->{name}, server => $p->{server}, port => $p->{port},
             uuid => $p->{uuid}, cipher => $p->{cipher}, network => $net,
             tls => $p->{tls} ? 1 : 0, sni => $p->{servername} // '');

    die "type, alterId\n" if $p->{type} ne 'vmess' || $p->{alterId} ne '0';

    if ($p->{'packet-encoding'}) {
        $s{alpn} = $p->{alpn} // [];
        $s{fp} = $p->{'client-fingerprint'} // '';
    }

    if ($net eq 'ws') {
        $s{network} = 'httpupgrade' if $opts->{'v2ray-http-upgrade'};
        $s{path} = $opts->{path};
        $s{host} = $opts->{headers}{Host} // '';
        $s{early_data} = $opts->{'max-early-data'} // 0
            if $s{network} eq 'ws';

    } elsif ($net eq 'http') {
        ($s{path}) = @{ $opts->{path} };
        $s{host} = $opts->{headers}{Host}[0] // '';

    } elsif ($net eq 'h2') {
        $s{path} = $opts->{path};
        $s{host} = $opts->{host}[0] // '';

    } elsif ($net eq 'grpc') {
        $s{path} = $opts->{'grpc-service-name'};
    }

    return \%s;
}


# by PyYAML

sub yaml {
    my ($bytes) = @_;

    pipe(my $in, my $out) or die "pipe: $!";
    my $pid = open(my $json, '-|') // die "fork: $!";

    if ($pid == 0) {
        close $out;
        open(STDIN, '<&', $in) or die $!;
        exec('python3', '-c', 'import json, sys, yaml; json.dump('
             . 'yaml.safe_load(sys.stdin.buffer.read()), sys.stdout)');
        die "python3: $!";
    }

    close $in;
    local $SIG{PIPE} = 'IGNORE';
    print $out $bytes;
    close $out;

    my $text = do { local $/; <$json> };
    close $json or die "not YAML: $bytes\n";

    return JSON::PP->new->utf8->allow_nonref->decode($text);
}


sub singbox {
    my ($bytes) = @_;

    my $o = JSON::PP->new->utf8->decode($bytes);
    my ($selector, @outbounds) = @{ $o->{outbounds} };
    my $direct = pop @outbounds;

    die "selector, direct\n" if $selector->{type} ne 'selector'
                                || $direct->{type} ne 'direct'
                                || join("\0", @{ $selector->{outbounds} })
                                   ne join("\0", map { $_->{tag} } @outbounds,
                                                                   $direct);
    unique(map { $_->{tag} } $selector, @outbounds, $direct);

    return map { singbox_outbound($_) } @outbounds;
}


sub singbox_outbound {
    my ($p) = @_;

    my $t = $p->{transport} // { type => 'tcp' };
    my $tls = $p->{tls};
    my $host = $t->{host} // $t->{headers}{Host} // '';
    my %s = (name => $p->{tag}, server => $p->{server},
             port => $p->{server_port}, uuid => $p->{uuid},
             cipher => $p->{security},
             network => $t->{type} eq 'http' ? 'h2' : $t->{type},
             tls => $tls->{enabled} ? 1 : 0, sni => $tls->{server_name} // '',
             alpn => $tls->{alpn} // [],
             $t->{type} eq 'quic' ? ()
             : (fp => $tls->{utls}{fingerprint} // ''));

    die "type, alter_id\n" if $p->{type} ne 'vmess' || $p->{alter_id} ne '0';

    if ($t->{type} eq 'grpc') {
        $s{path} = $t->{service_name};

    } elsif ($t->{type} !~ /^(tcp|quic)$/) {
        $s{path} = $t->{path};
        $s{host} = ref $host ? $host->[0] : $host;
    }

    $s{early_data} = $t->{max_early_data} // 0 if $t->{type} eq 'ws';

    return \%s;
}


sub unique {
    my %seen;

    $seen{$_}++ && die "the name \"$_\" is there twice\n" for @_;
}


# fields of lines; blanks around them do not count

sub fields {
    my ($bytes) = @_;

    my $text = decode('UTF-8', $bytes, FB_CROAK);
    my @lines;

    die "a line does not end\n" if length $text && $text !~ /\n\z/;

    for (split /[\n\r\x0b\x0c\x{85}\x{2028}\x{2029}]/, $text) {
        next if /^\s*(#|;|\/\/)/;
        die "section\n" if /^\s*\[/;
        push @lines, [map { s/^\s+|\s+$//gr } split /,/];
    }

    return @lines;
}


sub pairs {
    my %pairs;

    for (@_) {
        my ($key, $value) = /^([a-zA-Z-]+)=(.*)$/ or die "field \"$_\"\n";
        die "\"$key\" is there twice\n" if exists $pairs{$key};
        $pairs{$key} = $value;
    }

    return \%pairs;
}


sub surge {
    my @servers;

    for (fields(@_)) {
        my ($first, $host, $port, @fields) = @$_;
        my ($name) = $first =~ /^([^=]+?) = vmess$/ or die "\"$first\"\n";
        my $f = pairs(@fields);
        my $method = $f->{'encrypt-method'} // 'auto';
        my %s = (name => $name, server => $host, port => $port,
                 uuid => $f->{username}, cipher => $method =~ s/-ietf//r,
                 network => $f->{ws} ? 'ws' : 'tcp', tls => $f->{tls} ? 1 : 0,
                 sni => $f->{sni} // '');

        die "aead\n" if $f->{'vmess-aead'} ne 'true';

        if ($f->{ws}) {
            $s{path} = $f->{'ws-path'};
            ($s{host}) = ($f->{'ws-headers'} // 'Host:') =~ /^Host:([^|]*)$/;
        }

        push @servers, \%s;
    }

    unique(map { $_->{name} } @servers);

    return @servers;
}


sub qx {
    my @servers;

    for (fields(@_)) {
        my ($first, @fields) = @$_;
        my ($host, $port) = $first =~ /^vmess=(\[.*\]|[^:]*):(\d+)$/
            or die "\"$first\"\n";
        my $f = pairs(@fields);
        my $obfs = $f->{obfs} // 'none';
        my $tls = $obfs =~ /^(over-tls|wss)$/ ? 1 : 0;
        my %s = (name => $f->{tag}, server => $host =~ s/^\[(.*)\]$/$1/r,
                 port => $port, uuid => $f->{password}, tls => $tls,
                 network => { none => 'tcp', 'over-tls' => 'tcp', wss => 'ws'
                            }->{$obfs} // $obfs,
                 sni => $tls ? $f->{'obfs-host'} // $host =~ s/^\[(.*)\]$/$1/r
                             : '');

        # there is no word for "auto"
        $s{cipher} = $f->{method} if $f->{method} ne 'chacha20-poly1305';

        if ($s{network} ne 'tcp') {
            $s{host} = $f->{'obfs-host'} // '';
            $s{path} = $f->{'obfs-uri'};
        }

        push @servers, \%s;
    }

    unique(map { $_->{name} } @servers);

    return @servers;
}


sub loon {
    my @servers;

    for (fields(@_)) {
        my ($first, $host, $port, $method, $uuid, @fields) = @$_;
        my ($name) = $first =~ /^([^=]+?) = vmess$/ or die "\"$first\"\n";
        my $f = pairs(@fields);
        my %s = (name => $name, server => $host, port => $port,
                 uuid => $uuid =~ s/^"(.*)"$/$1/r,
                 cipher => $method =~ s/-ietf//r, network => $f->{transport},
                 tls => $f->{'over-tls'} ? 1 : 0, sni => $f->{'tls-name'} // '');

        if ($s{network} ne 'tcp') {
            $s{host} = $f->{host} // '';
            $s{path} = $f->{path};
        }

        push @servers, \%s;
    }

    unique(map { $_->{name} } @servers);

    return @servers;
}


1;
