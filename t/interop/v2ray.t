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

run_interop('v2ray', @legs);
