# The scripts around the module: what configure says, and where apt's mirror is
# read from.

use v5.20;
use strict;
use warnings;

use Cwd qw(getcwd);
use File::Temp qw(tempdir);
use Test::More;

my $root = getcwd();
my $dir = tempdir('vmess-tools-XXXXXX', TMPDIR => 1, CLEANUP => 1);


# ---- configure, with the headers of the packaged nginx

SKIP: {
    my $src = '/usr/share/nginx/src';

    skip 'needs the package nginx-dev', 4 unless -f "$src/configure";

    # it writes beside itself, and this file tells a whole source from headers
    system "cp -rL $src/auto $src/configure $src/src $dir/ && cd $dir"
           . " && touch src/stream/ngx_stream.c" and die 'cp failed';

    for (
        [ '', 'needs the stream module, use', '--with-stream or ' ],
        [ '--with-stream', 'needs TLS in the stream module, use',
          '--with-stream_ssl_module.' ],
        [ '--with-stream=dynamic', 'needs TLS in the stream module, use',
          '--with-stream_ssl_module.' ],
        [ '--with-stream --with-stream_ssl_module', 'needs the http module, remove',
          '--without-http.' ],
    ) {
        my ($options, @want) = @$_;

        my $out = `cd $dir && ./configure --without-http $options --without-pcre \\
                   --with-compat --add-dynamic-module=$root 2>&1`;
        my $want = join '\n', "error: ngx_vmess_module \Q$want[0]\E", "\Q$want[1]\E";

        ok($? && $out =~ /$want/, "configure $options") or diag $out;
    }
}


# ---- apt's sources

sub put {
    open my $fh, '>', $_[0] or die "$_[0]: $!";
    print $fh $_[1];
    close $fh or die "$_[0]: $!";
}

sub source_of {
    my ($field, $etc) = @_;
    my $out = `bash -c '. t/tools/common && apt_source $field $etc' 2>&1`;
    return $out =~ s/\n\z//r;
}

mkdir "$dir/$_" or die $! for qw(new new/sources.list.d old);

put("$dir/new/sources.list.d/debian.sources", <<'END');
Types: deb
URIs: http://security.mirror.test/debian-security
Suites: bookworm-security
Components: main
Signed-By: /etc/apt/one.gpg

Types: deb
URIs: http://mirror.test/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By: /etc/apt/one.gpg
END

put("$dir/old/sources.list", <<'END');
# deb http://commented.test/debian bookworm main
deb-src http://source.test/debian bookworm main
deb http://mirror.test/debian-security bookworm-security main
deb [arch=amd64 trusted=no] http://mirror.test/debian bookworm main
deb http://other.test/debian bookworm-updates main
END

my $key = '/usr/share/keyrings/debian-archive-keyring.gpg';

is(source_of(1, "$dir/new"), 'http://mirror.test/debian', 'the mirror, deb822');
is(source_of(2, "$dir/new"), '/etc/apt/one.gpg', 'its key');
is(source_of(1, "$dir/old"), 'http://mirror.test/debian', 'the mirror, one line');
is(source_of(2, "$dir/old"), $key, 'the usual key');

done_testing();
