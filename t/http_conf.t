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
     'unknown parameter "websockets" in "vmess_pass", parameters are '
     . '"websocket", "httpupgrade", "xhttp", "grpc", "http", "early_data=", "heartbeat="'],
    (map { ["the time $_", "vmess_pass ray heartbeat=$_;",
            "invalid parameter \"heartbeat=$_\" in \"vmess_pass\", it must be a time from \"1s\" to \"1d\""] }
         qw(x 0 1ms 999ms 2d)),
    (map { ["the header $_", "vmess_pass ray early_data=$_;",
            "invalid parameter \"early_data=$_\" in \"vmess_pass\""] }
         qw(2048 X:Y *)),
    (map { ["$_ twice", "vmess_pass ray $_ $_;",
            'duplicate parameter "' . s/=.*/=/r . '" in "vmess_pass"'] }
         qw(websocket grpc early_data=X heartbeat=2s)),
    ['a zero byte', "vmess_pass 'ray\0x';", 'zero byte in the arguments of "vmess_pass"'],
    ['a zero byte in a parameter', "vmess_pass ray 'grpc\0x';", 'zero byte in the arguments of "vmess_pass"'],
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
# transports that are named where they cannot be
my $http2 = sub {
    my ($listen, $location, $pass) = @_;
    my ($rc, $out) = nginx_t($ray, main => "http { server { listen 127.0.0.1:1$listen;"
        . " location $location { $pass } } }");
    is($rc, 0, "listen$listen; location $location { $pass }") or diag $out;
    return join ' ', sort map { s/.*\[warn\] \S+ //r =~ s/ in "vmess_pass".* has no effect in the (\w+) .*/ $1/sr }
                     grep { /\[warn\].*"vmess_pass"/ } split /\n/, $out;
};
is($http2->('', '/svc', 'vmess_pass ray grpc;'), '"grpc" server', 'gRPC needs HTTP/2');
is($http2->('', '/svc', 'vmess_pass ray;'), '', 'of which nobody spoke');
is($http2->(' http2', '/svc', 'vmess_pass ray grpc;'), '', 'and has it');
is($http2->(' http2', '= /svc', 'vmess_pass ray grpc;'), '"grpc" location', 'no method');
is($http2->(' http2', '= /svc/Tun', 'vmess_pass ray grpc;'), '', 'one method');
is($http2->(' http2', '= /svc', 'vmess_pass ray xhttp;'), '"xhttp" location', 'XHTTP has more paths');
is($http2->(' http2', '= /svc', 'vmess_pass ray;'), '', 'of which nobody spoke');
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
