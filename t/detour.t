# Dynamic ports: the command in the response, and the temporary ids it tells of.

use lib "t/lib";
use TestVMess;
use VMess::Mux;

plan "no_plan";
no_shuffle();


# the account that the response to a client tells of

sub switched {
    my $v = flow(to => 'echo', data => 'hello', @_);
    die "no flow\n" if $v->read(5) ne 'hello';
    return $v->switch;
}


# the flow of a client that follows, as v2ray does; what it gets back

sub follow {
    my ($sw, %o) = @_;
    my $v = flow(via => tcp(delete $o{at} // $sw->{port}), to => 'echo',
                 uuid => $sw->{uuid}, sec => 'aes-128-cfb', data => 'hello',
                 %o);
    return $v->read(5);
}


# is it refused, and quietly?

sub refused {
    my ($sw, %o) = @_;
    my $v = flow(via => tcp($sw->{port}), to => 'echo', uuid => $sw->{uuid},
                 sec => 'aes-128-cfb', data => 'x' x 5000, %o);
    $v->read_eof;
    return $v->{received} == 0 ? 1 : 'answered';
}

add_block_preprocessor {
    my ($block) = @_;
    $block->set_value('servers', "echo echo\ndgram udp_echo\n");
};

run_tests();

__DATA__

=== TEST 1: the command
--- stream_config
vmess_users main:2m { alice %%ALICE%% alter_id=4; bob %%BOB%%; }
vmess_ciphers aes-128-gcm chacha20-poly1305 aes-128-cfb none;
--- listen: reuseport
--- stream_server_config
listen 127.0.0.1:%%PORT_2%%-%%PORT_9%%;
vmess main;
vmess_detour ports=%%PORT_2%%-%%PORT_9%% refresh=255m;
proxy_pass vmess_target;
--- stream_client
my $sw = switched();
is($sw->{host}, '', 'the same host');
cmp_ok($sw->{port}, '>=', stream_port() + 2, 'a port of the range');
cmp_ok($sw->{port}, '<=', stream_port() + 9, 'not behind it');
is($sw->{minutes}, 255, 'minutes');
is($sw->{alter_id}, 0, 'the AEAD header');
is($sw->{level}, 0, 'level');
isnt(hexdump($sw->{uuid}), hexdump(VMess::uuid($User{$_})), "not the id of $_")
    for qw(alice bob);

# whatever the client asks for
for my $sec (qw(aes-128-cfb aes-128-gcm chacha20-poly1305 none)) {
    is_deeply(switched(sec => $sec), $sw, "$sec, AEAD");
    is_deeply(switched(sec => $sec, alter => 4), $sw, "$sec, the old header");
}
my $v = flow(cmd => 'udp', to => 'dgram', data => ['one']);
is($v->receive, 'one', 'a datagram');
is_deeply($v->switch, $sw, 'UDP');
my $m = VMess::Mux->new($v = flow(cmd => 'mux'));
$m->open(1, port => port('echo'), data => 'hello');
is($m->read(1, 5), 'hello', 'a sub-connection');
is_deeply($v->switch, $sw, 'mux');

my $other = switched(user => 'bob');
isnt(hexdump($other->{uuid}), hexdump($sw->{uuid}), 'another user has another');
is(follow($_), 'hello', 'they are good') for $sw, $other;
--- no_error_log
client sent


=== TEST 2: what the temporary id is good for
--- stream_config
vmess_users main:2m { alice %%ALICE%%; bob %%BOB%%; }
vmess_ciphers aes-128-gcm chacha20-poly1305 aes-128-cfb;
log_format l '$vmess_user $server_port $vmess_security $vmess_status';
access_log %%DIR%%/stream.log l;
server {
    listen 127.0.0.1:%%PORT_2%%-%%PORT_9%%;
    vmess main;
    proxy_pass vmess_target;
}
--- stream_server_config
vmess main;
vmess_detour ports=%%PORT_2%%-%%PORT_9%%;
proxy_pass vmess_target;
--- stream_client
my $sw = switched();
is($sw->{minutes}, 5, 'minutes');
is(follow($sw), 'hello', 'its port');
is(follow($sw, at => stream_port() + $_), 'hello', "port $_") for 2 .. 9;
is(follow($sw, sec => $_), 'hello', $_) for qw(aes-128-gcm chacha20-poly1305);

# where it comes from there is no second one
my $v = flow(to => 'echo', uuid => $sw->{uuid}, data => 'hello');
is($v->read(5), 'hello', 'the first port');
is($v->{response}{cmd}, 0, 'no command');
$v->close;

wait_for(sub { (() = access_log() =~ /\n/g) >= 13 });
my @l = split /\n/, access_log();
is(scalar(grep { /^alice / } @l), 13, 'all are flows of its user');
like(access_log(), qr/^alice $sw->{port} aes-128-cfb ok$/m, 'by that port');
is(wait_log(qr/vmess user "alice": .* total:13 refused:0/), 1, 'counted so');

# neither more nor less than other ids
is(refused($sw, skew => 200), 1, 'a wrong time');
is(refused($sw, alter => $_), 1, 'the old header') for 0, 1;
$v = vmess(to => 'echo', uuid => $sw->{uuid});
$v->connect(tcp($sw->{port}), data => 'hello');
is($v->read(5), 'hello', 'a session');
my $s = tcp($sw->{port});
put($s, $v->header . 'x' x 5000);
is(slurp($s), '', 'is not good twice');
is(refused({ %$sw, uuid => 'r' x 16 }), 1, 'an id that nobody was told');
is(refused({ %$sw, uuid => $User{alice} }), 1, 'the cipher is for such ids');
--- error_log
client sent VMess header of user "alice" with bad time
client sent replayed VMess header of user "alice"
client of user "alice" requested cipher "aes-128-cfb", which is not allowed


=== TEST 3: other workers, and after reloads
--- stream_config
vmess_users main:2m { alice %%ALICE%%; bob %%BOB%%; carol %%MALLORY%%; }
vmess_ciphers aes-128-gcm aes-128-cfb;
--- listen: reuseport
--- stream_server_config
listen 127.0.0.1:%%PORT_2%%-%%PORT_9%% reuseport;
vmess main;
vmess_detour ports=%%PORT_2%%-%%PORT_9%% refresh=255m;
proxy_pass vmess_target;
--- stream_client
edit_conf(sub { s/^worker_processes\s+\K1;/4;/m });
reload();
is(wait_for(sub { workers_alive() == 4 }), 1, 'four workers');

my %sw = map { $_ => switched(user => $_) } qw(alice bob mallory);
my $good = sub {
    my ($what, @users) = @_;
    my $n = 0;
    for (1 .. 20) {
        $n += follow($sw{$_}) eq 'hello' for @users;
    }
    is($n, 20 * @users, $what);
};
my $same = sub {
    is_deeply(switched(user => $_), $sw{$_}, "the same for $_") for @_;
};
$good->('at all workers', sort keys %sw);
$same->(sort keys %sw);

reload();
is(wait_for(sub { workers_alive() == 4 }), 1, 'the old ones leave');
$good->('after a reload', sort keys %sw);
$same->(sort keys %sw);

edit_conf(sub { s/alice [^;]+/anna u-anna/; s/(bob .*;) (carol .*?;)/$2 $1/;
                s/carol/karla/ });
reload();
is(refused($sw{alice}), 1, 'a user who was removed');
$good->('others, with other numbers and names', qw(bob mallory));
$same->(qw(bob mallory));

edit_conf(sub { s/main:2m/main:4m/ });
reload();
is(wait_for(sub { workers_alive() == 4 }), 1, 'four workers');
$good->('in a zone of another size', qw(bob mallory));

edit_conf(sub { s/bob [^;]+/bob $User{alice}/ });
reload();
is(refused($sw{bob}), 1, 'a user with another id');
$good->('others', qw(mallory));

edit_conf(sub { s/refresh=255m/refresh=254m/ });
reload();
is(switched(user => 'mallory')->{minutes}, 254, 'another time');
follow(switched(user => 'mallory'));
--- stream_response: hello


=== TEST 4: ports are spread
--- stream_config
vmess_users main:2m {
    a u-a; b u-b; c u-c; d u-d; e u-e; f u-f; g u-g; h u-h; i u-i; j u-j;
    k u-k; l u-l; m u-m; n u-n; o u-o; p u-p; q u-q; r u-r; s u-s; t u-t;
}
vmess_ciphers aes-128-gcm aes-128-cfb;
--- stream_server_config
listen 127.0.0.1:%%PORT_2%%-%%PORT_9%%;
vmess main;
vmess_detour ports=%%PORT_2%%-%%PORT_9%% refresh=255m;
proxy_pass vmess_target;
--- stream_client
my @sw = map { switched(uuid => VMess::uuid("u-$_")) } 'a' .. 't';
my (%port, %id);
$port{$_->{port}}++, $id{$_->{uuid}}++ for @sw;
is(scalar keys %id, 20, 'ids differ');
cmp_ok(scalar keys %port, '>', 1, 'ports, too');
is(scalar(grep { $_ < stream_port() + 2 || $_ > stream_port() + 9 } keys %port),
   0, 'all of the range');
join ' ', map { follow($_) eq 'hello' ? 1 : 0 } @sw;
--- stream_response: 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1


=== TEST 5: one port, and with a fallback and TLS
--- stream_config
vmess_users main:2m { alice %%ALICE%%; bob %%BOB%%; }
vmess_ciphers aes-128-gcm aes-128-cfb;
server {
    listen 127.0.0.1:%%PORT_3%% ssl;
    ssl_certificate %%CERT%%;
    ssl_certificate_key %%KEY%%;
    vmess main;
    vmess_fallback site;
    vmess_detour ports=%%PORT_2%% refresh=2m;
    proxy_pass vmess_target;
}
server { vmess_listen site; proxy_pass 127.0.0.1:%%echo%%; }
--- stream_server_config
listen 127.0.0.1:%%PORT_2%%;
vmess main;
vmess_fallback site;
proxy_pass vmess_target;
--- stream_client
is(flow(to => 'echo', data => 'hello')->read(5), 'hello', 'a server without');
my $sw = switched(via => tls(port => stream_port() + 3));
is($sw->{port}, stream_port() + 2, 'the port');
is($sw->{minutes}, 2, 'minutes');
is(follow($sw), 'hello', 'it is good');
my $s = tcp($sw->{port});
my $wire = vmess(uuid => 'r' x 16, port => 9)->header;
put($s, $wire);
read_n($s, length $wire) eq $wire;
--- stream_response: 1
