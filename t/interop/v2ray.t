#!/usr/bin/perl

# Debian's v2ray (4.34) as the client; it does not know "zero" yet.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Interop;

my @legs;

for my $carrier (qw(tcp tls)) {
    for my $security (qw(aes-128-gcm chacha20-poly1305 none)) {
        push @legs, { carrier => $carrier, security => $security };
    }
}

for my $listen (qw(http https)) {
    push @legs, {
        carrier => 'websocket', listen => $listen, path => '/ray',
        security => 'aes-128-gcm', title => $listen,
    };
}

for my $path (qw(/h2 /any/)) {
    push @legs, {
        carrier => 'http', listen => 'https', path => $path,
        security => 'aes-128-gcm', title => "https, $path",
            many => $path eq '/h2' ? 200 : 0,
    };
}

# Mux.Cool

push @legs, map {
    { carrier => 'tcp', security => $_, mux => 8, title => 'mux 8' }
} qw(aes-128-gcm none);

# Datagrams.  It reads up to 2048 bytes, 10 of which are the header of SOCKS,
# and cuts what is larger.  A sealed chunk has at most 2048 bytes, too, with a
# length, a tag and up to 63 bytes of padding: one that would be larger ends the
# flow.  With "none" and mux it damages frames over TLS, whatever the server.

for my $carrier (
    { carrier => 'tcp', dns => 1 },
    { carrier => 'tls' },
    { carrier => 'websocket', listen => 'https', path => '/ray' },
) {
    my $title = $carrier->{listen} ? "$carrier->{listen}, " : '';

    push @legs, map { { %$carrier, %$_, title => "$title$_->{title}" } } (
        { udp => 'udp', security => 'none', title => 'UDP',
          largest => 2037, larger => [ -gone => 8000, -cut => 2038 ] },
        { udp => 'mux', security => 'aes-128-gcm', title => 'UDP, mux 8',
          mux => 8, dns => 0, largest => 2037,
          larger => [ -gone => 8000, -cut => 2038 ] },
    );
}

push @legs, map {
    { carrier => 'tcp', security => $_, udp => 'udp', title => 'UDP',
      largest => 1967 }
} qw(aes-128-gcm chacha20-poly1305);

run_interop('v2ray', @legs);
