# HTTP/3: requests that become the site's, and what clients sent before a reset.

use lib "t/lib";
use TestVMess;
use VMess::Site;

my $nginx = $ENV{TEST_NGINX_BINARY} || 'nginx';
plan skip_all => 'no HTTP/3 in this nginx'
    if `$nginx -V 2>&1` !~ /--with-http_v3_module/;

chomp(our $python = `t/tools/quic-client`);
if (!$python) {
    die "no aioquic\n" if $ENV{CI};
    plan skip_all => 'no aioquic';
}


# the answer to a request at %%PORT_n%%, as text; further arguments are those of
# t/lib/http3.py

sub ask {
    my ($n, $method, $path, $body, @args) = @_;
    my $file = "$Dir/body";
    open my $fh, '>', $file or die $!;
    print $fh $body;
    close $fh;
    my $text = do {
        local $ENV{LD_PRELOAD};
        open my $p, '-|', 'sh', '-c', 'exec "$@" < "$0"', $file, $python,
             't/lib/http3.py', stream_port() + $n, $method, $path, @args
            or die $!;
        local $/;
        <$p>;
    };
    return $text =~ s/^date: .*\n//mr;
}

plan "no_plan";
no_shuffle();

run_tests();

__DATA__

=== TEST 1: bodies of requests that are not a client's
--- servers
app app brief
--- stream_config
server { vmess_listen ray; vmess main; proxy_pass vmess_target; }
--- http_config eval
VMess::Site::twice(<<'END');
    listen 127.0.0.1:%%PORT_2%% quic;
    ssl_certificate %%CERT%%;
    ssl_certificate_key %%KEY%%;
    server_name site;
    log_not_found off;
    client_max_body_size 100k;
    location @app { proxy_pass http://127.0.0.1:%%app%%; }
    location /app { proxy_pass http://127.0.0.1:%%app%%; vmess_pass ray; }
    location /stream {
        proxy_pass http://127.0.0.1:%%app%%; proxy_http_version 1.1;
        proxy_request_buffering off; vmess_pass ray;
    }
    location /try { try_files /none @app; vmess_pass ray; }
    location /error { root html; error_page 404 405 = @app; vmess_pass ray; }
    location /none { vmess_pass ray; return 404; }
    location /file { root html; vmess_pass ray; }
END
--- config
location = /alive { return 200; }
--- stream_client
my %seen;
my $bad = vmess(user => 'mallory')->header;
my $padding = 'referer:https://a/?x_padding=' . 'X' x 200;
for my $path (qw(/app /stream /try /error /none /file)) {
    for my $case ([PUT => 1100], [POST => 1100, $padding],
                  [POST => 1100, $padding, '-first', 10],
                  [PUT => 20_000], [POST => 90_000, $padding],
                  [PUT => 120_000],
                  [POST => 1100, 'content-type:application/grpc'])
    {
        my ($method, $n, @args) = @$case;
        my $data = substr $bad . pattern($n), 0, $n;
        my ($site, $ours) = map { ask($_, $method, "$path/", $data, @args) }
                                2, 3;
        is($ours, $site, "$method $path, $n bytes "
                         . substr "@args", 0, 20);
        $seen{$1} = 1 if $site =~ /^:status: (\d+)/m;
        like($site, qr/^\w+ $n /m, 'all of it')
            if $path =~ /app|stream|try|error/ && $n < 100_000;
    }
}
is(join(' ', sort keys %seen), '200 404 405 413', 'all answers');
--- no_error_log
[alert]
