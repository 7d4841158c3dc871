#!/usr/bin/perl

# QR codes as another reader sees them: pictures of all versions and levels are
# drawn by rsvg-convert and read back by zbarimg.
#
# CC, CFLAGS_EXTRA and NGX_VMESS_INC are as for unit.t.

use warnings;
use strict;

use Cwd qw(abs_path);
use File::Basename qw(dirname);
use File::Temp qw(tempdir);
use MIME::Base64 qw(encode_base64);
use Test::More;

my $unit = dirname(abs_path($0));
my $root = dirname(dirname($unit));
my $dir = tempdir('vmess-qr-XXXXXX', TMPDIR => 1, CLEANUP => 1);

for my $tool (qw(zbarimg rsvg-convert)) {
    next if grep { -x "$_/$tool" } split(/:/, $ENV{PATH});

    die "no $tool\n" if $ENV{CI};
    plan(skip_all => "no $tool");
}

my $cc = $ENV{CC} || 'gcc';
my $flags = '-g -O1 -Wall -Wextra -Wno-unused-parameter -Werror '
            . ($ENV{CFLAGS_EXTRA} || '');

chomp(my $inc = `$unit/inc`);
BAIL_OUT('no nginx headers') if $?;

# where notes of coverage go, too

system("cd $dir && $cc $flags $inc -I$root/src -I$root/src/proto -o render"
       . " $unit/qr_render.c $unit/stub.c $root/src/proto/ngx_vmess_qr.c"
       . " $root/src/proto/ngx_vmess_utf8.c -lcrypto") == 0
    or BAIL_OUT('qr_render.c does not compile');


# ISO/IEC 18004, table 7: bytes of a text in each version

my %room = (
    L => [qw(17 32 53 78 106 134 154 192 230 271 321 367 425 458 520 586 644
             718 792 858 929 1003 1091 1171 1273 1367 1465 1528 1628 1732 1840
             1952 2068 2188 2303 2431 2563 2699 2809 2953)],
    M => [qw(14 26 42 62 84 106 122 152 180 213 251 287 331 362 412 450 504
             560 624 666 711 779 857 911 997 1059 1125 1190 1264 1370 1452 1538
             1628 1722 1809 1911 1989 2099 2213 2331)],
);

my @cases;

for my $level (qw(L M)) {
    for my $version (1 .. 40) {
        my $len = $room{$level}[$version - 1];

        # bytes of all values, of a text that fills the version

        my $text = join('', map { chr(($_ * 167 + $version) % 251 + 5 * ($_ % 2)) }
                            1 .. $len);

        push(@cases, ["$version $level", $level, $text, 'bytes']);
    }
}

# as text, where there is nothing to guess; zbar takes much of UTF-8 for Japanese

my $link = 'vmess://' . encode_base64('{"v":"2","ps":"' . 'n' x 40 . '","add":'
    . '"vpn.example.com","port":"443","id":"b831381d-6324-4d53-ad4f-8cda48b30811'
    . '","aid":"0","scy":"auto","net":"ws","type":"none","host":"vpn.example.com'
    . '","path":"/ws?ed=2048","tls":"tls","sni":"vpn.example.com","alpn":'
    . '"http/1.1","fp":"chrome"}', '');

push(@cases, [$_->[0], 'L', $_->[1], 'text'])
    for ['13 L', $link], ['1 M', ' '], ['1 M', "a\nb\n"],
        ['4 M', 'https://example.com/sub/0123456789abcdef0123456789abcdef'];

push(@cases, [$_->[0], 'L', $_->[1], 'bytes'])
    for ['3 M', 'vmess://auto@example.com:443#' . "\xe9\xa6\x99\xe6\xb8\xaf 01"],
        ['1 L', "\xf0\x9f\x87\xad\xf0\x9f\x87\xb0 \xc3\xa9\xc3\xa0 \xd0\xb6"],
        ['28 L', "trojan://\xe8\x8a\x82\xe7\x82\xb9" x 100];

open(my $in, '>', "$dir/in") or die "$dir/in: $!";
print $in "$cases[$_][1] $dir/$_.svg " . unpack('H*', $cases[$_][2]) . "\n"
    for 0 .. $#cases;
print $in "$_ $dir/long " . 'ff' x ($room{$_}[-1] + 1) . "\n" for qw(L M);
close($in);

my @codes = split(/\n/, `$dir/render < $dir/in`);
is($?, 0, 'exit status');
is_deeply([splice(@codes, -2)], ['-', '-'], 'no code is that large');

for my $i (0 .. $#cases) {
    my ($want, undef, $text, $kind) = @{$cases[$i]};
    my ($code, $mask) = ($codes[$i] // '') =~ /^(\d+ [LM]) ([0-7])$/
        or die "render: $codes[$i]\n";

    my $read = $kind eq 'bytes' ? '-Sbinary' : '';
    my $got = `rsvg-convert -z 3 -o $dir/png $dir/$i.svg \\
               && zbarimg -q --raw --oneshot $read $dir/png 2>$dir/err`;

    ok($code eq $want && $got eq $text,
       "version $code, mask $mask, @{[ length($text) ]} bytes of $kind")
        or diag("wanted $want, got: ", unpack('H*', $got), "\nstderr: ", `cat $dir/err`);
}

done_testing();
