# A replay filter that is full refuses: it never forgets early.

use lib "t/lib";
use TestVMess;

plan "no_plan";
no_shuffle();
run_tests();

__DATA__

=== TEST 1: a full filter
--- servers
echo echo
web http It works
--- stream_config
server {
    listen 127.0.0.1:%%PORT_1%%;
    vmess main;
    vmess_fallback 127.0.0.1:%%web%%;
    proxy_pass vmess_target;
}
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my $first = vmess(to => 'echo');
is($first->connect(tcp(), data => 'hello')->read(5), 'hello', 'the first');
is(log_count(qr/is full/), 0, 'no alert yet');

my ($entries) = error_log() =~ /replay filter of (\d+) entries/;
cmp_ok($entries, '>', 1000, "a filter of $entries entries");

# an id alone takes an entry: what follows it is wrong
my $key = VMess::kdf16(VMess::cmd_key(VMess::uuid($TestVMess::User{alice})),
                       'AES Auth ID Encryption');
my $aes = Crypt::Cipher::AES->new($key);
my $n = 0;
while ($n < $entries + 100 && !($n % 500 == 0 && log_count(qr/is full/))) {
    my $id = pack 'q> N', time, $n++;
    $id = $aes->encrypt($id . pack 'N', unpack 'N',
                        Crypt::Checksum::CRC32::crc32_data($id));
    my $s = tcp();
    put($s, $id . 'x' x 26);
    close $s;
}

is(wait_log(qr/\[alert\].*vmess_users "main": replay filter is full/), 1, 'an alert');
cmp_ok($n, '>', $entries / 4, 'not early');

my $request = "GET / HTTP/1.1\r\n\r\n";
my $s = tcp(stream_port() + 1);
put($s, vmess(to => 'echo')->header . $request);
like(slurp($s), qr/It works/, 'a fresh header is refused, as all others are');

$s = tcp(stream_port() + 1);
put($s, $first->header . $request);
like(slurp($s), qr/It works/, 'the first is still known');

cmp_ok(log_count(qr/is full/), '<', 100, 'the log is not flooded');
1;
--- stream_response: 1
--- may_alert
