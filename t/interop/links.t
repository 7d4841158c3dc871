#!/usr/bin/perl

# Share links of "vmess_share", as the API tells them, imported into real
# clients: each one that a client can do moves traffic.  A subscription, asked for
# by the name of sing-box, is its configuration as it is.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib", "$FindBin::Bin/../lib";

use HTTP::Tiny;
use JSON::PP;
use Test::More;

use Peer qw(peers path slurp certificate target run_traffic client stop USER_ID);
use VMess::Share qw(read_link);

# what a client can do, of the names that links have for it

my %can = (
    'xray' => qr/^(tcp|http|ws|httpupgrade|grpc|xhttp)$/,
    'v2ray' => qr/^(tcp|http|ws|h2|kcp)$/,
    'sing-box' => qr/^(tcp|ws|httpupgrade|h2|grpc)$/,
);

my %peers = peers();
my @names = grep { $peers{$_} } sort keys %can;

if (!$peers{traffic} || !@names) {
    die "no clients, t/interop/peers installs them\n" if $ENV{CI};
    plan skip_all => 'no clients, t/interop/peers installs them';
}

local $SIG{ALRM} = sub { die "the test took too long\n" };
alarm 600;

my %port = map { $_ => Peer::free_port() } qw(tcp tls header kcp http https api);
my $nginx = start_nginx();
my @links = links();
my $target = target();

is(@links, 11, 'all are there');

for my $name (@names) {
    my @legs = map { leg($_) } grep { $_->{network} =~ $can{$name} } @links;
    my $client = client($name, @legs);

    for my $leg (@legs) {
        my ($ok, $output) = run_traffic(60, 'mixed', -size => 100_001, -flows => 4,
            -target => $target, -socks => "127.0.0.1:$leg->{socks}");

        ok($ok, "$name: $leg->{title}") or diag $output;
    }

    stop($client);
}

subscription() if $peers{'sing-box'};

stop($nginx);

is(join("\n", grep { /\[(error|crit|alert|emerg)\]/ }
              split /\n/, slurp(path('error.log'))), '',
   'nothing bad in the error log');

done_testing();


# a leg as of Peer.pm, of a link in all its forms

sub leg {
    my ($s) = @_;

    my $carrier = { ws => 'websocket', h2 => 'http', kcp => 'mkcp', http => 'tcp',
                  }->{$s->{network}} // $s->{network};
    my $http = $carrier =~ /^(websocket|httpupgrade|http|grpc|xhttp)$/;

    $carrier = 'tls' if $carrier eq 'tcp' && $s->{tls};

    return {
        title => $s->{name}, carrier => $carrier, security => $s->{cipher},
        port => $s->{port} + 0, path => $s->{path},
        $http ? (listen => $s->{tls} ? 'https' : 'http') : (),
        $s->{early_data} ? (early => $s->{early_data} + 0,
                            early_in => 'Sec-WebSocket-Protocol') : (),
        $s->{network} eq 'grpc' ? (multi => $s->{mode} eq 'multi' ? 1 : 0) : (),
        $s->{network} eq 'xhttp' ? (mode => $s->{mode}) : (),
        $s->{network} eq 'kcp' ? (header => $s->{header}, seed => $s->{seed}) : (),
        $s->{network} eq 'http' ? (disguise => 1) : (),
        @{ $s->{alpn} } ? (alpn => $s->{alpn}[0]) : (),
    };
}


# a file beside the profile has a way in for each outbound

sub subscription {
    my $get = sub {
        my $answer = HTTP::Tiny->new(agent => 'SFA/1.14.1')->get($_[0]);
        return $answer->{success} ? $answer->{content} : '';
    };

    my $user = $get->("http://127.0.0.1:$port{api}/users/tester");
    my $token = decode_json($user)->{token};
    my $profile = $get->("http://127.0.0.1:$port{http}/sub/$token");
    my ($crt) = certificate();

    my @outbounds = grep { $_->{type} eq 'vmess' } @{ decode_json($profile)->{outbounds} };
    my @tags = map { $_->{tag} } @outbounds;

    is(@tags, 8, 'sing-box: a subscription has what it can do');

    my %socks = map { $_ => Peer::free_port() } @tags;

    my $file = Peer::spew(path('profile.json'), $profile);
    my $ours = Peer::spew(path('inbounds.json'), encode_json({
        log => { level => 'warn' },
        inbounds => [map { { type => 'socks', tag => "in $_", listen => '127.0.0.1',
                             listen_port => $socks{$_} } } @tags],
        route => { rules => [map { (
            { inbound => ["in $_"], network => 'tcp', action => 'sniff',
              sniffer => ['tls'], timeout => '30s' },
            { inbound => ["in $_"], action => 'route', outbound => $_ } ) } @tags] },
    }));

    local $ENV{SSL_CERT_FILE} = $crt;

    my $client = Peer::start('subscription', $peers{'sing-box'}, 'run', '-c', $file, '-c', $ours);
    Peer::wait_port($client, values %socks);

    for my $tag (@tags) {
        my ($ok, $output) = run_traffic(60, 'mixed', -size => 100_001, -flows => 4,
            -target => $target, -socks => "127.0.0.1:$socks{$tag}");

        ok($ok, "sing-box by its subscription: $tag") or diag $output;
    }

    stop($client);
}


# read from all forms, which say the same

sub links {
    my $url = "http://127.0.0.1:$port{api}/users/tester/links";
    my $answer = HTTP::Tiny->new->get($url);
    my @links;

    for my $link (@{ decode_json($answer->{content})->{links} }) {
        my ($first, @more) = map { read_link($link->{$_}) }
                             grep { defined $link->{$_} }
                             qw(v2rayn uri shadowrocket);

        is("$first->{uuid} $first->{server} $first->{tls} $first->{sni}",
           USER_ID . ' 127.0.0.1 '
           . ($first->{tls} ? '1 localhost' : '0 '), "$link->{name}: the server");

        for my $key (qw(network port cipher path tls)) {
            is(join(' ', map { $_->{$key} // '' } @more),
               join(' ', map { $first->{$key} // '' } @more),
               "$link->{name}: $key in all forms") if $first->{network} ne 'kcp';
        }

        push @links, $first;
    }

    return @links;
}


sub start_nginx {
    my $modules = join '', map { "load_module $_;\n" } Peer::nginx_modules();
    my ($crt, $key) = certificate();
    my $http2 = Peer::nginx_version() < 1025001 ? '' : 'http2 on;';
    my $flag = $http2 ? '' : ' http2';
    my $address = "127.0.0.1:$port{https} sni=localhost";
    my $vmess = "vmess main;\n        proxy_pass vmess_target;";
    my $id = USER_ID;

    Peer::spew(path('nginx.conf'), <<"END");
${modules}daemon off;
worker_processes 1;
pid nginx.pid;
error_log error.log info;
events { worker_connections 1024; }

stream {
    vmess_users main:1m { tester $id; }
    vmess_allow 127.0.0.1;

    server { vmess_listen ray; $vmess }

    server {
        listen 127.0.0.1:$port{tcp};
        $vmess
        vmess_share 127.0.0.1:$port{tcp} cipher=chacha20-poly1305 "name=TCP, \\"\$vmess_user\\"";
    }

    server {
        listen 127.0.0.1:$port{tls} ssl;
        ssl_certificate $crt;
        ssl_certificate_key $key;
        $vmess
        vmess_share 127.0.0.1:$port{tls} sni=localhost name=TLS;
    }

    server {
        listen 127.0.0.1:$port{header};
        vmess_http_header on path=/a host=h.example;
        $vmess
        vmess_share 127.0.0.1:$port{header} name=header;
    }

    server {
        listen 127.0.0.1:$port{kcp} udp reuseport;
        vmess_kcp header=wechat-video "seed=a seed";
        $vmess
        vmess_share 127.0.0.1:$port{kcp} name=mKCP;
    }
}

http {
    access_log off;

    server {
        listen 127.0.0.1:$port{http};
        location /ray {
            vmess_pass ray websocket;
            vmess_share 127.0.0.1:$port{http} name=WebSocket cipher=none;
        }
        location /sub/ { vmess_subscription main; }
    }

    server {
        listen 127.0.0.1:$port{https} ssl$flag;
        $http2
        ssl_certificate $crt;
        ssl_certificate_key $key;

        location /ray/ {
            vmess_pass ray websocket httpupgrade http;
            vmess_share $address transport=websocket early_data=2048 "name=early data";
            vmess_share $address transport=httpupgrade "name=HTTPUpgrade";
            vmess_share $address transport=http name=h2;
        }

        location /svc/ {
            vmess_pass ray grpc;
            vmess_share $address name=gRPC;
            vmess_share $address mode=multi "name=gRPC, multi";
        }

        location /xh/ {
            vmess_pass ray xhttp;
            vmess_share $address mode=packet-up alpn=h2 name=XHTTP;
        }
    }

    server {
        listen 127.0.0.1:$port{api};
        location / { vmess_api main write; }
    }
}
END

    my $pid = Peer::start('nginx', Peer::nginx_binary(), '-p', path(''), '-c',
                          'nginx.conf', '-e', 'error.log');

    Peer::wait_port($pid, @port{qw(tcp tls header http https api)});

    return $pid;
}
