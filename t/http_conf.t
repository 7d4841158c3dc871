# The configuration of http locations.

use lib "t/lib";
use TestVMess;

plan "no_plan";
no_shuffle();

run_tests();

__DATA__

=== TEST 1: what nginx -t says
--- config
location = /alive { return 200; }
--- stream_config
--- stream_client
my $users = 'vmess_users main:1m { alice %%ALICE%%; }';
my $ray = "$users server { vmess_listen ray; vmess main; "
          . 'proxy_pass vmess_target; }';
my @bad = (
    ['nothing', 'vmess_pass;', 'invalid number of arguments in "vmess_pass"'],
    ['an unknown name', 'vmess_pass other;', 'other'],
    ['an unknown transport', 'vmess_pass ray websockets;',
     'unknown transport "websockets" in "vmess_pass", it must be '
     . '"websocket", "httpupgrade", "xhttp", "grpc" or "http"'],
    ['no time', 'vmess_pass ray heartbeat=x;',
     'invalid "heartbeat=x" in "vmess_pass", it must be a time as '
     . '"heartbeat=30s"'],
    ['no time at all', 'vmess_pass ray heartbeat=0;', 'heartbeat=0'],
    ['a size of early data', 'vmess_pass ray early_data=2048;',
     'invalid "early_data=2048" in "vmess_pass"'],
    ['an address', 'vmess_pass http://127.0.0.1:80;',
     'invalid name "http://127.0.0.1:80" in "vmess_pass"'],
    ['a header without a name', 'vmess_pass ray early_data=;', 'early_data='],
    ['twice', 'vmess_pass ray; vmess_pass ray websocket;',
     '"vmess_pass" directive is duplicate'],
);
for (@bad) {
    my ($name, $pass, $text) = @$_;
    my ($rc, $out) = nginx_t($ray,
        main => "http { server { listen 127.0.0.1:1; location / { $pass } } }");
    isnt($rc, 0, $name);
    like($out, qr/\[emerg\] .*\Q$text\E.* in \S+:\d/, "$name: the message");
}
for my $where ("vmess_pass ray;", "server { vmess_pass ray; }") {
    my ($rc, $out) = nginx_t($ray, main => "http { $where }");
    like($out, qr/"vmess_pass" directive is not allowed here/, $where);
}
{
    my ($rc, $out) = nginx_t($ray =~ s/vmess main;/vmess off;/r,
        main => "http { server { listen 127.0.0.1:1; location / { vmess_pass ray; } } }");
    like($out, qr/\[emerg\].*"vmess_pass ray" in \S+:\d+ leads to .*without "vmess"/,
         'a server that lets anybody pass');
}
for my $pass ('vmess_pass ray;', 'vmess_pass ray websocket;',
              'vmess_pass ray httpupgrade early_data=X-Early websocket;',
              'vmess_pass ray; proxy_pass http://127.0.0.1:1;')
{
    my ($rc, $out) = nginx_t($ray,
        main => "http { server { listen 127.0.0.1:1; location / { $pass } } }");
    is($rc, 0, $pass) or diag $out;
}
for my $pass ('vmess_pass ray;', 'vmess_pass ray xhttp;') {
    my ($rc, $out) = nginx_t($ray,
        main => "http { server { listen 127.0.0.1:1; location ~ ^/a { $pass } } }");
    is($rc, 0, "$pass in a regular expression");
    is($out =~ /\[warn\] .*"xhttp" in "vmess_pass".*"\^\/a".* in \S+:\d/ || 0,
       $pass =~ /xhttp/ || 0, 'is warned of if xhttp is named');
}
# http may come after stream, too
1;
--- stream_response: 1
