# One flow of each kind: what must work before anything else is looked at.

use lib "t/lib";
use TestVMess;

plan "no_plan";
no_shuffle();
run_tests();

__DATA__

=== TEST 1: a flow in every security
--- servers
echo echo
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
join ' ', map {
    my $f = flow(sec => $_, to => 'echo', data => 'hello');
    my $got = $f->read(5);
    $f->send(' world');
    $got . $f->read(6);
} qw(aes-128-gcm chacha20-poly1305 none zero);
--- stream_response: hello world hello world hello world hello world


=== TEST 2: both ends of a flow
--- servers
sink sink
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my $data = pattern(300_000);
my $f = flow(to => 'sink');
$f->send($data)->end;
my $got = $f->read_eof;
is($f->{ended}, 1, 'the end chunk came');
$got eq "300000 " . sha256_hex($data) . "\n";
--- stream_response: 1


=== TEST 3: VMess over TLS
--- servers
echo echo
--- listen: ssl
--- stream_server_config
ssl_certificate %%CERT%%;
ssl_certificate_key %%KEY%%;
vmess main;
proxy_pass vmess_target;
--- stream_client
flow(via => tls(), to => 'echo', data => 'hello')->read(5);
--- stream_response: hello


=== TEST 4: who is not a user gets the fallback
--- servers
web http It works
--- stream_config
server { vmess_listen site; proxy_pass 127.0.0.1:%%web%%; }
--- stream_server_config
vmess main;
vmess_fallback site;
proxy_pass vmess_target;
--- stream_client
my $s = tcp();
put($s, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
slurp($s);
--- stream_response_like: 200 OK.*It works
--- error_log
client sent no VMess header of a known user


=== TEST 5: an unknown user without a fallback hears nothing
--- servers
echo echo
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my $f = flow(user => 'mallory', to => 'echo', data => 'x' x 5000);
$f->read_eof;
$f->{received};
--- stream_response: 0
--- error_log
client sent no VMess header of a known user


=== TEST 6: a private target is forbidden unless it is allowed
--- servers
echo echo
--- no_defaults
--- stream_config
vmess_users main:1m { alice %%ALICE%%; }
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my $f = flow(to => 'echo', data => 'hello');
$f->read_eof;
$f->{received};
--- stream_response: 0
--- error_log eval
qr/target "127\.0\.0\.1:\d+" of user "alice" is forbidden/


=== TEST 7: a name is resolved
--- servers
echo echo
dns  dns a.test=127.0.0.1
--- stream_config
resolver 127.0.0.1:%%dns%% ipv6=off;
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
flow(host => 'a.test', to => 'echo', data => 'hello')->read(5);
--- stream_response: hello
