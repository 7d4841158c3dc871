# HTTP/1.1: bodies of requests that become the site's are as they came.

use lib "t/lib";
use TestVMess;
use VMess::Site;

plan "no_plan";
no_shuffle();

run_tests();

__DATA__

=== TEST 1: a body is the site's to read, to discard, or to refuse
--- servers
app app brief
--- stream_config
server {
    vmess_listen ray; vmess main; proxy_pass vmess_target;
    vmess_handshake_timeout 1s;
}
--- http_config eval
VMess::Site::twice(<<'END');
    listen 127.0.0.1:%%PORT_2%%;
    server_name site;
    log_not_found off;
    client_max_body_size 30k;
    client_body_timeout 300ms; lingering_timeout 100ms; keepalive_timeout 300ms;
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
    location /deny { deny all; vmess_pass ray; }
    location /late { deny all; satisfy any; auth_basic a;
                     auth_basic_user_file none; vmess_pass ray; }
    location /page { root html; }
END
--- user_files
>>> page
a page
>>> none
a:b
--- config
location = /alive { return 200; }
--- stream_client
my $bad = vmess(user => 'mallory')->header;
my $padding = 'Referer: https://a/?x_padding=' . 'X' x 200 . "\r\n";
my $last = "GET /page HTTP/1.1\r\nHost: site\r\nConnection: close\r\n\r\n";
my $chunk = sub { join '', map { sprintf "%x\r\n%s\r\n", length, $_ } @_ };
my $long = sub { 'X-Long: ' . 'y' x $_[0] . "\r\n" };

my %body = (
    'chunks' => $chunk->($bad, 'x' x 3000, 'y') . "0\r\n\r\n$last",
    'a chunk' => $chunk->($bad . 'x' x 20_000) . "0\r\n\r\n$last",
    'small chunks' => $chunk->(split //, $bad) . "0\r\n\r\n$last",
    'too large' => $chunk->($bad, ('x' x 10_000) x 5) . "0\r\n\r\n$last",
    'a bad chunk' => $chunk->($bad) . "hello\r\n0\r\n\r\n$last",
    'a bad first chunk' => "hello\r\n0\r\n\r\n$last",
    'a negative chunk' => $chunk->($bad) . "-1\r\nx\r\n0\r\n\r\n$last",
    'not all' => $chunk->($bad) . "a\r\nx",
    'empty' => "0\r\n\r\n$last",
);
my (%seen, @download);

sub send_parts {
    my ($n, @part) = @_;
    my $s = tcp(stream_port() + $n);
    put($s, shift @part);
    for (@part) {
        select undef, undef, undef, 0.02;
        put($s, $_);
    }
    return $s;
}

sub compare {
    my ($name, @s) = @_;
    my ($site, $ours) = map { slurp($_) =~ s/^Date: .*\r\n//mgr } @s;
    is($ours, $site, $name);
    $seen{$1} = 1 while $site =~ m{^HTTP/1.1 (\d+)}mg;
}

# all requests for a path are made at once, as each waits for some timeout
my @path = qw(/app /stream /try /error /none /file /deny /late);

# a packet waits for the download of its session, that of the first path in
# vain: this takes half a minute
my %sid = map { ($path[$_] => "sid$_") } 0 .. $#path;

sub packets {
    my ($path) = @_;
    my $get = "GET $path/$sid{$path}?x_padding=" . 'X' x 200
              . " HTTP/1.1\r\nHost: site\r\n\r\n";
    my $text = "POST $path/$sid{$path}/0 HTTP/1.1\r\nHost: site\r\n$padding"
               . "Content-Length: 100\r\n\r\n" . substr("$bad$bad", 0, 100)
               . "$get$last";
    my @s = map { send_parts($_, $text) } 2, 3;
    push @download, send_parts(3, $get) if $path ne $path[0];
    return @s;
}

my %packet = map { ($_ => [packets($_)]) } @path;

for my $path (@path) {
    my @test;
    for my $name (sort keys %body) {
        for my $case (['', 0], [$long->(600), 0], [$long->(3000), 50],
                      ["Expect: 100-continue\r\n", 0])
        {
            my ($header, $first) = @$case;
            next if ($header || $name eq 'not all') && $path !~ /app|none/;
            next if $header && $name eq 'not all';
            my $text = "POST $path/ HTTP/1.1\r\nHost: site\r\n$padding$header"
                       . "Transfer-Encoding: chunked\r\n\r\n";
            my $all = $text . $body{$name};
            my $cut = $first ? length($text) + $first : length $all;
            push @test, ["$path, $name, " . substr($header, 0, 9),
                         grep { length } substr($all, 0, $cut),
                                         substr $all, $cut];
        }
    }

    for (@test) {
        my ($name, @part) = @$_;
        $_ = [$name, send_parts(2, @part), send_parts(3, @part)];
    }
    compare(@$_) for @test;
}

shift @path;
compare("$_, a packet", @{ $packet{$_} }) for @path;
compare("$_, a packet of a session that has ended", packets($_)) for @path;
compare('a packet without a download', @{ $packet{'/app'} });

# two that are answered before a limit tells its status
ok($seen{$_}, "an answer $_") for 100, 200, 403, 404, 405, 413;
--- no_error_log
[alert]
