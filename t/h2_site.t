# HTTP/2 requests that become the site's: with what nginx keeps of a body before
# somebody reads it, and with content that reads it as it comes.

use lib "t/lib";
use TestVMess;
use VMess::HTTP2;
use VMess::Site;

plan "no_plan";
no_shuffle();

run_tests();

__DATA__

=== TEST 1: bodies that are not buffered, and small windows
--- servers
app app brief
--- stream_config
server { vmess_listen ray; vmess main; proxy_pass vmess_target; }
--- http_config eval
my $conf = "client_max_body_size 10m;\n";
my $n = 2;
for my $preread ('', '16k', '32k', '1k') {
    $conf .= "server {
        listen 127.0.0.1:%%PORT_" . $n++ . "%% http2;
        " . ($preread && "http2_body_preread_size $preread;") . '
        location / { return 404; }
        location /site {
            proxy_pass http://127.0.0.1:%%app%%;
            proxy_http_version 1.1; proxy_request_buffering off;
            location /site/grpc { grpc_pass grpc://127.0.0.1:%%PORT_6%%; }
            location /site/all { proxy_pass http://127.0.0.1:%%app%%; }
            location /site/none { return 405; }
        }
        location /ours {
            vmess_pass ray;
            proxy_pass http://127.0.0.1:%%app%%;
            proxy_http_version 1.1; proxy_request_buffering off;
            location /ours/grpc { grpc_pass grpc://127.0.0.1:%%PORT_6%%;
                                  vmess_pass ray; }
            location /ours/all { proxy_pass http://127.0.0.1:%%app%%;
                                 vmess_pass ray; }
            location /ours/none { vmess_pass ray; return 405; }
        }
    }
    ';
}
$conf . 'server {
    listen 127.0.0.1:%%PORT_6%% http2;
    location / { proxy_pass http://127.0.0.1:%%app%%; }
}';
--- config
location = /alive { return 200; }
--- stream_client
my %seen;
my $bad = vmess(user => 'mallory')->header;
for my $n (2 .. 5) {
    my $c = h2(n => $n);
    $c->ping;                   # the settings, which have the window
    for my $path ('', '/grpc', '/all', '/none') {
        for my $size (1, 100, 5000, 16_384, 20_000, 40_000, 65_536, 300_000) {
            my $data = substr $bad . pattern($size), 0, $size;
            for my $first ($size, 10, 70) {
                next if $first > $size;
                my ($site, $ours) = map {
                    my $s = $c->request(PUT => "/$_$path",
                                        data => substr($data, 0, $first),
                                        end => $first == $size);
                    if ($first < $size) {
                        $c->ping;
                        $s->send(substr($data, $first), end => 1);
                    }
                    answer($s) =~ s{/$_\b}{}r;
                } qw(site ours);

                # no data: some clients wait for the answer
                next if $first == 10 && $ours =~ /^:status: 200/m;

                is($ours, $site, "$n $path: $size bytes, first $first");
                $seen{$1} = 1 if $site =~ /^:status: (\d+)/m;
            }
        }
    }
    is($c->ping, 1, 'the connection is there');
}
is(join(' ', sort keys %seen), '200 405', 'answers');
--- no_error_log
[alert]
[crit]


=== TEST 2: flows, with what nginx keeps of a body before it is read
--- servers
echo echo
sink sink
--- stream_config
server { vmess_listen ray; vmess main; proxy_pass vmess_target; }
--- http_config eval
join "\n", map { my ($n, $size) = @$_;
    "server { listen 127.0.0.1:%%PORT_$n%% http2;
              http2_body_preread_size $size;
              location /ray { vmess_pass ray; }
              location /grpc { vmess_pass ray grpc; } }"
} [2, '64k'], [3, '16k'], [4, '1k'], [5, '0'];
--- config
location = /alive { return 200; }
--- stream_client
my $data = pattern(3_000_000);
for my $n (2 .. 5) {
    my $c = h2(n => $n);
    $c->ping;                   # the settings, which have the window
    my $f = flow(via => $c->request(PUT => '/ray'), to => 'echo');
    is(sha256_hex($f->exchange($data, length $data)), sha256_hex($data),
       "both ways, $n");
    $f->close;
    my $v = vmess(to => 'sink');
    my $s = $c->request(PUT => '/ray', data => $v->header);
    $v->connect($s, quiet => 1);
    $v->send($data)->end;
    is($v->read_eof, length($data) . ' ' . sha256_hex($data) . "\n", 'up');
}
--- no_error_log
[error]
