#!/usr/bin/perl

# mKCP: Debian's v2ray (4.34), and Xray-core with its names for the same bytes.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Interop;
use Test::More;

$ENV{VMESS_INTEROP_MIB} ||= 16;
$Interop::AtOnce = 14;           # as they wait for the next tti

# what it does not hold, two connections of TCP do

my %gcm = (carrier => 'mkcp', security => 'aes-128-gcm', slow => 64);
my @legs;

for my $header (qw(none srtp utp wechat-video dtls wireguard)) {
    push @legs, map {
        { %gcm, header => $header, $_ ? (seed => "of-$header") : (),
          title => $header . ($_ ? ', seed' : ''),
          brief => $_ || $header ne 'none' }
    } 0, 1;
}

# a bad network

push @legs, map {
    { %gcm, $_ ? (seed => 'bad') : (), loss => 10, brief => 1,
      title => ($_ ? 'seed, ' : '') . '10 % lost, 10 % late' }
} 0, 1;

push @legs,
    { carrier => 'mkcp', security => 'none', mux => 8, title => 'mux 8',
      brief => 1 },
    { carrier => 'mkcp', security => 'none', udp => 'udp', title => 'UDP',
      dns => 1, largest => 2037, larger => [ -gone => 8000, -cut => 2038 ] },
    { carrier => 'mkcp', security => 'chacha20-poly1305', udp => 'mux',
      mux => 8, title => 'UDP, mux 8', largest => 1967 };

subtest v2ray => sub { run_interop('v2ray', @legs) };

# Xray adds no seal of its own, which the masks are; the first is outermost.

sub masks {
    return [ map { my ($type, %settings) = @$_;
                   { type => $type, settings => \%settings } } @_ ];
}

my @simple = ([ 'mkcp-original' ]);
my @seed = ([ 'mkcp-aes128gcm', password => 'xray' ]);

@legs = map {
    my ($title, $masks, %leg) = @$_;
    +{ %gcm, title => $title, masks => masks(@$masks), brief => 1, %leg }
} (
    [ 'bare', [], seal => 'none' ],
    [ 'bare, srtp', [ [ 'header-srtp' ] ], seal => 'none', header => 'srtp' ],
    [ 'utp, original', [ [ 'header-utp' ], @simple ], header => 'utp' ],
    [ 'wechat, seed', [ [ 'header-wechat' ], @seed ],
      header => 'wechat-video', seed => 'xray' ],
    [ 'dtls, seed', [ [ 'header-dtls' ], @seed ],
      header => 'dtls', seed => 'xray' ],
    [ 'wireguard, original', [ [ 'header-wireguard' ], @simple ],
      header => 'wireguard' ],
    [ 'dns, original', [ [ 'header-dns' ], @simple ], header => 'dns' ],
    [ 'dns with a domain, seed',
      [ [ 'header-dns', domain => 'www.example.com' ], @seed ],
      header => 'dns', domain => 'www.example.com', seed => 'xray' ],
    [ 'bare, 10 % lost, 10 % late', [], seal => 'none', loss => 10 ],
    [ 'XUDP', [], seal => 'none', security => 'chacha20-poly1305',
      udp => 'xudp', largest => 7526, larger => [ -gone => 8000 ],
      cone => [ -flows => 4 ] ],
);

subtest xray => sub { run_interop('xray', @legs) };

done_testing();
