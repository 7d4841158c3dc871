#!/usr/bin/perl

# Debian's v2ray (4.34) as the client, with what newer clients have dropped: the
# original header (alterId), AES-128-CFB, and dynamic ports.  With
# VMESS_INTEROP_ALL in the environment each with each.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Interop;

my %carrier = (
    tcp => { carrier => 'tcp' },
    tls => { carrier => 'tls' },
    websocket => { carrier => 'websocket', listen => 'https', path => '/ray' },
);

sub leg {
    my ($carrier, $security, $alter, $mux) = @_;

    return {
        %{$carrier{$carrier}}, security => $security, alter => $alter,
        $mux ? (mux => 8) : (),
        title => "alterId $alter" . ($mux ? ', mux 8' : ''),
    };
}

my @security = qw(aes-128-cfb aes-128-gcm chacha20-poly1305 none);
my @legs;

if ($ENV{VMESS_INTEROP_ALL}) {
    for my $carrier (sort keys %carrier) {
        for my $security (@security) {
            push @legs, map { leg($carrier, $security, $_),
                              leg($carrier, $security, $_, 'mux') } 1, 16, 64;
        }
    }

} else {
    @legs = (
        leg('tcp', 'aes-128-cfb', 64),
        leg('tcp', 'aes-128-gcm', 16),
        leg('tcp', 'chacha20-poly1305', 1),
        leg('tcp', 'none', 64),
        leg('tls', 'aes-128-cfb', 16, 'mux'),
        leg('websocket', 'aes-128-gcm', 64),
    );
}

push @legs, map {
    {
        carrier => 'tcp', security => 'aes-128-gcm', disguise => 1,
        $_ ? (alter => $_) : (), title => "HTTP, alterId $_",
    }
} 0, 16;

push @legs, {
    carrier => 'tcp', security => 'aes-128-gcm', alter => 16, detour => 1,
    title => 'dynamic ports',
};

push @legs, {
    carrier => 'tcp', security => 'aes-128-cfb', alter => 16, udp => 'udp',
    title => 'alterId 16, UDP', largest => 2037,
    larger => [ -gone => 8000, -cut => 2038 ],
};

run_interop('v2ray', @legs);
