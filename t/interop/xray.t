#!/usr/bin/perl

# Xray-core as the client.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Interop;

my @legs;

for my $carrier (qw(tcp tls)) {
    for my $security (qw(aes-128-gcm chacha20-poly1305 none zero)) {
        push @legs, { carrier => $carrier, security => $security };
    }
}

# Both are off by default: lengths under their own AEAD, and no end chunk.

for my $security (qw(aes-128-gcm chacha20-poly1305)) {
    for my $experiments (qw(AuthenticatedLength NoTerminationSignal
                            AuthenticatedLength|NoTerminationSignal))
    {
        push @legs, {
            carrier => 'tcp', security => $security, title => $experiments,
            experiments => $experiments,
        };
    }
}

# Early data: the first write of a flow goes with the request, if it is small.

for my $listen (qw(http https)) {
    for my $carrier (qw(websocket httpupgrade)) {
        for my $early (0, 2048) {
            push @legs, {
                carrier => $carrier, listen => $listen, path => '/ray',
                security => 'aes-128-gcm', early => $early,
                early_in => 'Sec-WebSocket-Protocol',
                title => join(', ', $listen, $early ? 'early data' : ()),
            };
        }
    }
}

for my $security (qw(chacha20-poly1305 none zero)) {
    push @legs, {
        carrier => 'websocket', listen => 'http', path => '/ray',
        security => $security, title => 'http',
    };
}

# gRPC is HTTP/2, in cleartext too.

for my $listen (qw(h2c https)) {
    for my $multi (0, 1) {
        push @legs, {
            carrier => 'grpc', listen => $listen, path => 'svc',
            security => 'aes-128-gcm', multi => $multi,
            title => $listen . ($multi ? ', multi mode' : ''),
            many => $listen eq 'https' ? 200 : 0,
        };
    }
}

# The names of protocols that the client offers choose the version of HTTP.

for my $mode (qw(packet-up stream-up stream-one)) {
    for my $http ([ 'http' ], [ 'https', 'http/1.1' ], [ 'https', 'h2' ],
                  [ 'h3' ])
    {
        my ($listen, $alpn) = @$http;

        push @legs, {
            carrier => 'xhttp', listen => $listen, path => '/xh/',
            security => 'aes-128-gcm', mode => $mode, alpn => $alpn,
            title => join(', ', $mode, $listen, $alpn // ()),
        };
    }
}

# Each flow had connections of its own, which is the default.

for my $mode (qw(packet-up stream-one)) {
    push @legs, {
        carrier => 'xhttp', listen => 'https', path => '/xh/',
        security => 'aes-128-gcm', mode => $mode, alpn => 'h2',
        title => "$mode, one connection", one => 1,
        many => $mode eq 'stream-one' ? 200 : 0,
    };
}

# One location takes them all.

for my $carrier (
    { carrier => 'websocket', listen => 'http' },
    { carrier => 'httpupgrade', listen => 'https' },
    { carrier => 'grpc', listen => 'https', path => 'any' },
    { carrier => 'xhttp', listen => 'https', alpn => 'h2',
      mode => 'packet-up' },
) {
    push @legs, {
        path => '/any/', security => 'aes-128-gcm', %$carrier,
        title => 'any, ' . $carrier->{listen},
    };
}

# As HTTP.

push @legs, map {
    { carrier => $_, security => 'aes-128-gcm', disguise => 1, title => 'HTTP' }
} qw(tcp tls);

# Mux.Cool, where half-close does not exist.

for my $mux ([ 'tcp', 8 ], [ 'tls', 128 ], [ 'websocket', 8 ]) {
    my ($carrier, $n) = @$mux;

    push @legs, {
        carrier => $carrier, security => 'aes-128-gcm', mux => $n,
        title => "mux $n",
        $carrier eq 'websocket' ? (listen => 'https', path => '/ray') : (),
    };
}

# Datagrams: each with the command UDP (without "cone", as with an environment
# variable of Xray); XUDP, which is the default for ports other than 53 and 443;
# in sub-connections of Mux.Cool, alone (xudpConcurrency) or not, with XUDP's
# ids.  In a frame of XUDP the client sends up to 7526 bytes.  Of frames of
# Mux.Cool that come together it takes the address of the last for that of all:
# with several servers one datagram at a time is exchanged.

my %xudp = (largest => 7526, larger => [ -gone => 8000 ]);

for my $carrier (
    { carrier => 'tcp', dns => 1 },
    { carrier => 'tls' },
    { carrier => 'websocket', listen => 'https', path => '/ray' },
) {
    my $title = $carrier->{listen} ? "$carrier->{listen}, " : '';

    push @legs, map { { %$carrier, %$_, title => "$title$_->{title}" } } (
        { udp => 'udp', security => 'aes-128-gcm', title => 'UDP' },
        { udp => 'xudp', security => 'chacha20-poly1305', title => 'XUDP',
          %xudp, cone => [ -flows => 4 ] },
        { udp => 'mux', security => 'none', mux => -1, xudp => 16, dns => 0,
          title => 'XUDP, 16 a connection', cone => [ -window => 1 ] },
    );
}

push @legs, map { { security => 'aes-128-gcm', %$_ } } (
    { carrier => 'tcp', udp => 'mux', mux => 8, title => 'UDP, mux 8',
      cone => [ -window => 1 ] },
    { carrier => 'grpc', listen => 'https', path => 'svc', udp => 'xudp',
      %xudp, title => 'https, XUDP', cone => [ -flows => 4 ] },
    { carrier => 'xhttp', listen => 'https', path => '/xh/', alpn => 'h2',
      mode => 'stream-up', udp => 'xudp', %xudp,
      title => 'stream-up, https, XUDP', cone => [ -flows => 4 ] },
);

run_interop('xray', @legs);
