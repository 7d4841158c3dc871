# Filters for the bodies of a site see nothing of a session.

use lib "t/lib";
use TestVMess;
use VMess::GRPC;
use VMess::HTTP2;
use VMess::Site;
use VMess::XHTTP;

plan "no_plan";
no_shuffle();

run_tests();

__DATA__

=== TEST 1: text is not replaced, added or converted
--- servers
echo echo
--- stream_config
server { vmess_listen ray; vmess main; proxy_pass vmess_target; }
--- http_config
server {
    listen 127.0.0.1:%%PORT_2%%;
    listen 127.0.0.1:%%PORT_3%% http2;
    root html;
    sub_filter_types *; sub_filter_once off;
    sub_filter a b; sub_filter X y;
    ssi on; ssi_types *;
    addition_types *; add_before_body /page; add_after_body /page;
    charset utf-8; charset_types *;
    gunzip on; gzip on; gzip_types *; gzip_min_length 1;
    add_header X-Site yes always;
    location = /page { }
    location /ray { vmess_pass ray; }
    location /grpc { vmess_pass ray grpc; }
    location /x { vmess_pass ray xhttp; }
}
--- user_files
>>> page
a page
--- config
location /ray { vmess_pass ray; sub_filter_types *; sub_filter a b; }
--- stream_client
my $data = '<!--# echo var="uri" -->' . pattern(300_000);
my @accept = ('accept-encoding' => 'gzip');
my %via = (
    websocket => sub { ws() },
    httpupgrade => sub { ws(upgrade => 1) },
    http => sub { h2(n => 3)->request(PUT => '/ray', headers => [@accept]) },
    grpc => sub { h2(n => 3)->request(POST => '/grpc/Tun',
                      codec => VMess::GRPC->new, headers => [@accept,
                      'content-type' => 'application/grpc']) },
    map({ my $mode = $_;
          ($mode => sub { VMess::XHTTP->new(mode => $mode, headers => [@accept],
                 connect => sub { VMess::XHTTP::H1->new(
                                      tcp(stream_port() + 2)) }) },
           "$mode, HTTP/2" => sub { my $c = h2(n => 3);
                 VMess::XHTTP->new(mode => $mode, headers => [@accept],
                                   connect => sub { $c }) }) }
        qw(packet-up stream-up stream-one)),
);
for my $name (sort keys %via) {
    my $f = flow(via => $via{$name}->(), to => 'echo');
    is(sha256_hex($f->exchange($data, length $data)), sha256_hex($data), $name);
    $f->close;
}

my $s = tcp(stream_port() + 2);
my $v = vmess(to => 'echo');
put($s, "PUT /ray HTTP/1.1\r\nHost: a\r\n\r\n" . $v->header . $v->chunk('aaaa'));
my $head = '';
$head .= read_n($s, 1) // last until $head =~ /\r\n\r\n/;
like($head, qr/^X-Site: yes\r$/m, 'a header of the site');
$v->connect($s, quiet => 1);
is($v->read(4), 'aaaa', 'over HTTP/1.1');

# and the site is as it was
$s = tcp(stream_port() + 2);
put($s, "GET /page HTTP/1.0\r\n\r\n");
like(slurp($s), qr/b pbge/, 'text of the site');
--- no_error_log
[alert]
