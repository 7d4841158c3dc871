# What nginx -t says: errors name the directive and the value, and where.

use v5.20;
use strict;
use warnings;

use lib 't/lib';

use TestVMess;

plan('no_plan');

my $id = 'b831381d-6324-4d53-ad4f-8cda48b30811';
my $id2 = 'ad9f3f5b-3e55-4d6e-8d9a-5f2b5b1a3b44';

my $users = "vmess_users main:1m { alice $id; }\n";
my $resolver = "resolver 127.0.0.1;\n";
my $server = "server { listen 127.0.0.1:%%PORT_1%%; vmess main;"
             . " proxy_pass vmess_target; }\n";

sub server { return "server { listen 127.0.0.1:%%PORT_1%%; $_[0] }\n" }
sub user { return "vmess_users main:1m { @_ }\n" }


# refused: name, configuration, what the message must match

sub bad {
    my ($name, $conf, @want) = @_;
    my ($status, $out) = nginx_t($conf);
    isnt($status, 0, "$name: is refused");
    like($out, qr/\[emerg\]/, "$name: with a message") or diag $out;
    like($out, $_, "$name: that says what") for @want;
    # nginx looks at variables and at zones when it has read the file
    like($out, qr/in \S+:\d+|nginx\.conf:\d+/, "$name: and where")
        if $name !~ /variable|too many users/;
    cmp_ok(scalar(() = $out =~ /\[emerg\]/g), '<=', 1, "$name: once") or diag $out;
}


# accepted, with exactly these warnings

sub good {
    my ($name, $conf, @want) = @_;
    my ($status, $out) = nginx_t($conf, ref $want[-1] eq 'HASH' ? %{ pop @want }
                                                                : ());
    is($status, 0, "$name: is accepted") or diag $out;
    my @warn = $out =~ /(\[(?:warn|error|crit|alert|emerg)\].*)/g;
    for my $re (@want) {
        my ($i) = grep { $warn[$_] =~ $re } 0 .. $#warn;
        ok(defined $i, "$name: warns of $re") or diag $out;
        splice @warn, $i, 1 if defined $i;
    }
    is("@warn", '', "$name: no other warning");
}


# what is right

good('the least', $users . $resolver . $server);
good('without a size', "vmess_users main { alice $id; }\n" . $resolver . $server);
good('everything', $resolver . "vmess_users main:2m {
        alice $id; 'bob' \"$id2\"; carol example;
    }
    vmess_fallback site;
    vmess_handshake_timeout 10s;
    vmess_ciphers aes-128-gcm chacha20-poly1305 none zero;
    vmess_commands tcp udp;
    vmess_allow 192.168.1.0/24 80,443,8000-8100;
    vmess_deny private;
    vmess_deny .evil.test;
    vmess_deny ~^ad[0-9]+\\.;
    vmess_allow 2001:db8::/32 443;
    vmess_allow 2001:db8:1::/48;
    vmess_allow name.test 1-65535;
    vmess_deny all 25;
    vmess_allow all;
    map \$vmess_user \$r { default on; }
    server { vmess_listen site; proxy_pass 127.0.0.1:%%PORT_2%%; }
    " . server('vmess main; vmess_resolve $r; proxy_pass vmess_target;'));
good('off everywhere', $users . "vmess off; vmess_fallback off; vmess_resolve off;\n"
     . server('proxy_pass 127.0.0.1:1;'));
good('nothing of ours', server('proxy_pass 127.0.0.1:1;'));
good('a fallback by address', $users . $resolver
     . server('vmess main; vmess_fallback 127.0.0.1:80; proxy_pass vmess_target;'));
good('a fallback by Unix socket', $users . $resolver
     . server('vmess main; vmess_fallback unix:/tmp/x.sock; proxy_pass vmess_target;'));
good('a fallback before its server', $users . $resolver
     . server('vmess main; vmess_fallback site; proxy_pass vmess_target;')
     . 'server { vmess_listen site; proxy_pass 127.0.0.1:80; }');
good('a zone after the server', $resolver . $server . $users);
good('users from files', "vmess_users main:1m { include users/*.conf; include one; }\n"
     . $resolver . $server,
     { files => { one => "alice $id;\n" } });
good('vmess_target in a map', $users . $resolver
     . "map \$vmess_host \$to { a.test 127.0.0.1:80; default vmess_target; }\n"
     . server('vmess main; proxy_pass $to;'));
good('many users', "vmess_users main:4m {\n"
     . join('', map { sprintf "u%d 00000000-0000-4000-8000-%012x;\n", $_, $_ }
                1 .. 3000)
     . "}\n" . $resolver . $server);


# warnings

good('no resolver', $users . $server, qr/resolver/);
good('no resolver, but none needed', $users
     . server('vmess main; vmess_resolve off; proxy_pass 127.0.0.1:1;'));

for my $p (qw(expires=2030-01-31 quota=100g max_conns=64 max_ips=3)) {
    my ($name) = split /=/, $p;
    good("a parameter not enforced, $name", user("alice $id $p;") . $resolver
         . $server, qr/\Q$name\E.*(?:not (?:enforced|supported)|only)/);
}

good('warned of once', user("alice $id quota=1g;", "bob $id2 quota=2g;")
     . $resolver . $server, qr/quota/);
good('no users', user() . $resolver . $server, qr/"main" has no users/);
good('state is not kept yet', "vmess_users main:1m state=x { alice $id; }\n"
     . $resolver . $server, qr/state/);
good('a part of a UUID', user('alice ' . substr($id, 0, 28) . ';') . $resolver
     . $server, qr/alice.*part of a UUID/);
good('a text of letters a to f', user('alice ' . 'abcdef' x 3 . ';') . $resolver
     . $server);
good('users of the original header', user("alice $id alter_id=16;")
     . $resolver . $server, qr/"alter_id".*"main".*original header/);
good('none of them', user("alice $id alter_id=0;") . $resolver . $server);
good('a cipher without users for it', $users . $resolver
     . "vmess_ciphers aes-128-gcm aes-128-cfb;\n" . $server,
     qr/aes-128-cfb.*"alter_id".*has none/);
good('with users for it', user("alice $id alter_id=1;") . $resolver
     . "vmess_ciphers aes-128-cfb;\n" . $server, qr/original header/);

# listeners without TLS that are not of this machine
sub exposed { return "server { listen %%PORT_1%%; vmess main; proxy_pass vmess_target; @_ }" }

good('open, without a fallback', $users . $resolver . exposed(''),
     qr/listens without "ssl" and has no "vmess_fallback"/);
good('open, with a fallback', $users . $resolver
     . exposed('vmess_fallback 127.0.0.1:1;'));
for my $cipher (qw(none zero)) {
    good("open, and $cipher is named", $users . $resolver
         . exposed("vmess_fallback 127.0.0.1:1; vmess_ciphers $cipher;"),
         qr/"vmess_ciphers".*encrypts nothing/);
}
good('open, and others are named', $users . $resolver
     . exposed('vmess_fallback 127.0.0.1:1; vmess_ciphers aes-128-gcm;'));

# dynamic ports
good('vmess_detour', user("alice $id alter_id=1;") . $resolver
     . 'vmess_ciphers aes-128-gcm aes-128-cfb;'
     . server('vmess main; vmess_detour ports=%%PORT_1%% refresh=1m; proxy_pass vmess_target;'),
     qr/original header/);
good('vmess_detour without the cipher of its clients', $users . $resolver
     . server('vmess main; vmess_detour ports=%%PORT_1%%; proxy_pass vmess_target;'),
     qr/vmess_detour.*aes-128-cfb.*not in/);
good('vmess_detour to a port that is not listened on', user("alice $id alter_id=1;")
     . $resolver . 'vmess_ciphers aes-128-gcm aes-128-cfb;'
     . server('vmess main; vmess_detour ports=%%PORT_1%%-%%PORT_2%%; proxy_pass vmess_target;'),
     qr/original header/, qr/"vmess_detour".*port \d+, on which no server with "vmess main" listens/);
good('vmess_detour to a server of other users', user("alice $id alter_id=1;")
     . "vmess_users other:1m { bob $id2; }\n" . $resolver
     . 'vmess_ciphers aes-128-gcm aes-128-cfb;'
     . server('vmess main; vmess_detour ports=%%PORT_2%%; proxy_pass vmess_target;')
     . 'server { listen 127.0.0.1:%%PORT_2%%; vmess other; proxy_pass vmess_target; }',
     qr/original header/, qr/no server with "vmess main" listens/,
     qr/aes-128-cfb.*"other" has none/);

# disguise
good('vmess_http_header', $users . $resolver
     . server('vmess main; vmess_http_header on path=/a path=/b host=x wait=1s; proxy_pass vmess_target;'));
good('vmess_http_header off', $users . $resolver
     . server('vmess main; vmess_http_header off; proxy_pass vmess_target;'));
good('low bits of a block', $users . $resolver . "vmess_deny 10.1.2.3/8;\n"
     . $server, qr{10\.1\.2\.3/8});


# users

bad('an id too long', user("alice ${id}00;") . $server, qr/alice/, qr/id/);
bad('an id that is no UUID', user('alice b831381d-6324-4d53-ad4f-8cda48b3081g;')
    . $server, qr/alice/, qr/id/);
bad('an id of 31 bytes', user('alice 1234567890123456789012345678901;') . $server,
    qr/alice/);
bad('an empty id', user('alice "";') . $server, qr/alice/);
bad('no id', user('alice;') . $server, qr/alice/);
bad('an id in the place of a name', user("$id alice;") . $server,
    qr/name of user is a UUID/);
bad('an id alone', user("$id;") . $server, qr/name of user is a UUID/);
bad('two ids', user("alice $id $id2;") . $server, qr/parameter/, qr/alice/);
bad('an empty name', user("'' $id;") . $server, qr/name/);
bad('a name with a space', user("'a b' $id;") . $server, qr/a b/);
bad('a name with a line feed', user("'a\nb' $id;") . $server, qr/name|character/);
bad('a name too long', user('x' x 300 . " $id;") . $server, qr/x{50}/);
bad('a duplicate name', user("alice $id;", "alice $id2;") . $server,
    qr/duplicate/, qr/alice/);
bad('a duplicate id', user("alice $id;", "bob $id;") . $server, qr/alice/, qr/bob/);
bad('a duplicate id in other letters', user("alice $id;", 'bob ' . uc($id) . ';')
    . $server, qr/alice/, qr/bob/);
bad('an unknown parameter', user("alice $id color=red;") . $server,
    qr/color/, qr/alice/);
bad('a parameter without a value', user("alice $id quota;") . $server, qr/quota/);
bad('a duplicate parameter', user("alice $id quota=1g quota=2g;") . $server,
    qr/quota/);

for my $p (qw(alter_id=x alter_id=-1 alter_id=100000 expires=tomorrow
              expires=2027-13-01 expires=2027-02-30 quota=x quota=-1 rate=fast
              rate= max_conns=0 max_conns=x max_ips=0 max_ips=1.5))
{
    bad("the parameter $p", user("alice $id $p;") . $server, qr/\Q$p\E/, qr/alice/);
}

bad('the file of users is not there', "vmess_users main:1m { include nosuch; }\n"
    . $server, qr/nosuch/);


# zones

bad('an unknown zone', $resolver . $server, qr/vmess/, qr/main/);
bad('an unknown zone, others are known', $resolver . $users
    . server('vmess other; proxy_pass vmess_target;'), qr/other/);
bad('two zones of one name', $users . $users . $server, qr/main/, qr/duplicate/);
bad('a size that is none', "vmess_users main:big { alice $id; }\n" . $server,
    qr/size/, qr/big/);
bad('a size of zero', "vmess_users main:0 { alice $id; }\n" . $server, qr/main|size/);
bad('a size too small', "vmess_users main:4k { alice $id; }\n" . $server,
    qr/small/, qr/main/);
bad('too many users for the size', "vmess_users main:1m {\n"
    . join('', map { sprintf "u%d 00000000-0000-4000-8000-%012x;\n", $_, $_ }
               1 .. 40000)
    . "}\n" . $resolver . $server, qr/main/, qr/small|size/)
    if $ENV{TEST_VMESS_SLOW} || !$ENV{ASAN_OPTIONS};
bad('an empty name of a zone', "vmess_users :1m { alice $id; }\n" . $server,
    qr/name/);
bad('a zone called off', "vmess_users off:1m { alice $id; }\n" . $server, qr/off/);
bad('no name of a zone', "vmess_users { alice $id; }\n" . $server, qr/vmess_users/);
bad('an unknown parameter of a zone', "vmess_users main:1m color=red { alice $id; }\n"
    . $server, qr/color/);


# servers

bad('vmess without a name', $users . server('vmess; proxy_pass vmess_target;'),
    qr/vmess/);
bad('vmess twice', $users . server('vmess main; vmess main; proxy_pass vmess_target;'),
    qr/duplicate/);
bad('an unknown fallback', $users . $resolver
    . server('vmess main; vmess_fallback nosite; proxy_pass vmess_target;'),
    qr/vmess_fallback/, qr/nosite/);
bad('a fallback twice', $users
    . server('vmess main; vmess_fallback off; vmess_fallback off; proxy_pass vmess_target;'),
    qr/duplicate/);
bad('two servers with one vmess_listen', $users . $resolver
    . 'server { vmess_listen site; proxy_pass 127.0.0.1:80; } ' x 2
    . $server, qr/vmess_listen/, qr/site/);
bad('a server with vmess_listen twice', $users . $resolver
    . 'server { vmess_listen a; vmess_listen b; proxy_pass 127.0.0.1:80; }'
    . $server, qr/duplicate/);
bad('an empty name of vmess_listen', $users . $resolver
    . 'server { vmess_listen ""; proxy_pass 127.0.0.1:80; }' . $server,
    qr/vmess_listen/);
bad('a fallback that is an invalid address', $users . $resolver
    . server('vmess main; vmess_fallback 127.0.0.1:99999; proxy_pass vmess_target;'),
    qr/99999|vmess_fallback/);
bad('an unknown cipher', $users . "vmess_ciphers aes-128-gcm des;\n" . $server,
    qr/"des" in "vmess_ciphers", values are "aes-128-gcm", .*"aes-128-cfb" in/);
bad('no cipher', $users . "vmess_ciphers;\n" . $server, qr/vmess_ciphers/);
bad('an unknown command', $users . "vmess_commands tcp quic;\n" . $server,
    qr/"quic" in "vmess_commands", values are "tcp", "udp", "mux" in/);
bad('no command', $users . "vmess_commands;\n" . $server, qr/vmess_commands/);
bad('a time-out that is none', $users . "vmess_handshake_timeout soon;\n" . $server,
    qr/vmess_handshake_timeout/);
bad('no time at all', $users . "vmess_handshake_timeout 0;\n" . $server,
    qr/vmess_handshake_timeout.*more than zero/);
for my $p ('', 'refresh=1m', 'ports=0-5', 'ports=5-4', 'ports=1-65536',
           'ports=x', 'ports=1-2 refresh=59s', 'ports=1-2 refresh=256m',
           'ports=1-2 refresh=x', 'ports=1-2 port=3')
{
    bad("vmess_detour $p", $users . server("vmess main; vmess_detour $p;"
        . ' proxy_pass vmess_target;'), qr/vmess_detour/);
}
bad('two times of one zone', $users . $resolver
    . server('vmess main; vmess_detour ports=1-2; proxy_pass vmess_target;')
    . server('vmess main; vmess_detour ports=1-2 refresh=1m; proxy_pass vmess_target;')
      =~ s/PORT_1/PORT_2/r, qr/refresh.*vmess_detour.*must be 300 seconds/);
for my $p ('maybe', 'off path=/', 'on path=a', 'on host=', 'on wait=x',
           'on wait=0', 'on colour=red')
{
    bad("vmess_http_header $p", $users . server("vmess main; vmess_http_header $p;"
        . ' proxy_pass vmess_target;'), qr/vmess_http_header/);
}
bad("vmess_http_header $_", $users . server("vmess main; vmess_http_header $_;"
    . ' proxy_pass vmess_target;'), qr/vmess_http_header/)
    for 'on path=/a?b', 'on host=a:80';
for my $d ('vmess_kcp', 'vmess_detour ports=1-2', 'vmess_http_header on') {
    bad("$d without vmess", $users . 'server { listen 127.0.0.1:%%PORT_1%%;'
        . ' listen 127.0.0.1:%%PORT_1%% udp reuseport;'
        . " $d; proxy_pass 127.0.0.1:1; }", qr/need "vmess"/);
}
bad('vmess_mux_buffer of a byte less than a frame', $users
    . "vmess_mux_buffer 16383;\n" . $server, qr/"vmess_mux_buffer".*from 16k to 64m/);
bad('too many ids', user(join ' ', map { sprintf 'u%d 00000000-0000-4000-8000-%012x alter_id=256;', $_, $_ } 1 .. 4097)
    . $server, qr/1048832 ids by "alter_id".*1048576/);
bad('resolving maybe', $users . "vmess_resolve maybe;\n" . $server,
    qr/vmess_resolve|maybe/);
bad('resolving by a variable that is not there', $users
    . "vmess_resolve \$nosuch;\n" . $server, qr/nosuch/);
bad('vmess_listen for all servers', $users . "vmess_listen site;\n" . $server,
    qr/vmess_listen/);
bad('vmess_users in a server', server("vmess_users main:1m { alice $id; }"),
    qr/vmess_users/);
bad('vmess on UDP', $users . $resolver
    . 'server { listen 127.0.0.1:%%PORT_1%% udp; vmess main; proxy_pass vmess_target; }',
    qr/udp/i);


# QUIC is not in every nginx

my $quic = `@{[ $ENV{TEST_NGINX_BINARY} || 'nginx' ]} -V 2>&1`
           =~ /--with-http_v3_module/;

sub quic {
    return $users . $resolver . 'server { listen 127.0.0.1:%%PORT_1%% '
           . ($_[1] // 'udp reuseport') . '; vmess main; vmess_quic ' . $_[0]
           . '; proxy_pass vmess_target; }';
}

if ($quic) {
    my $tls = '; ssl_certificate %%CERT%%; ssl_certificate_key %%KEY%%';

    bad("vmess_quic $_", quic($_), qr/\Q$_\E/,
        /^(security|key|header)=/ ? qr/no packet cipher and no packet disguise/
                                  : qr/parameter/)
        for qw(security=none key=x header=srtp streams=0 streams=65536
               streams=x timeout=0 timeout=x timeout= buffer=63k buffer=1g gso= gso=yes x
               alpn=h3);

    bad('two of vmess_quic', quic('; vmess_quic'), qr/vmess_quic.*duplicate/);
    bad('vmess_quic without a certificate', quic(''),
        qr/no "ssl_certificate".*vmess_quic/);
    bad('vmess_quic without TLSv1.3', quic("$tls; ssl_protocols TLSv1.2"),
        qr/"ssl_protocols" must enable TLSv1\.3/);
    bad('vmess_quic with certificates of clients',
        quic("$tls; ssl_verify_client on; ssl_client_certificate %%CERT%%"),
        qr/"ssl_verify_client" cannot be used/);
    bad('vmess_quic on TCP', quic('', ''), qr/vmess_quic.*needs.*udp.*reuseport/);
    bad('vmess_quic without reuseport', quic('', 'udp'),
        qr/vmess_quic.*needs "reuseport"/);
    bad('vmess_quic with vmess_kcp', quic('; vmess_kcp'),
        qr/vmess_kcp" and "vmess_quic"/);

    good('vmess_quic', quic($tls));
    good('vmess_quic with all', quic("streams=1 buffer=1m timeout=5m gso=off $tls"));
    good('vmess_quic beside TLS', quic($tls, "udp reuseport;"
                                       . " listen 127.0.0.1:%%PORT_1%% ssl"));

} else {
    bad('vmess_quic', quic(''), qr/vmess_quic.*needs QUIC.*http_v3_module/);
}


# rules

for my $rule ('10.0.0.0/40', '10.0.0.256', '10.0.0', '300.0.0.0/8', '[::1', '::1/200',
              '"a b"', '.', '..a', 'a..b/c', 'a:80', 'a/b', '~(', '""')
{
    bad("the rule $rule", $users . "vmess_deny $rule;\n" . $server,
        $rule eq '~(' ? qr/parenthes/ : qr/\Q@{[ $rule =~ tr{"}{}dr ]}\E/);
}

for my $ports (split(' ', '0 65536 80- -80 90-80 80,,90 80,x http 1-2-3'), '""')
{
    bad("the ports $ports", $users . "vmess_allow all $ports;\n" . $server,
        qr/port/, qr/\Q@{[ $ports =~ tr{"}{}dr ]}\E/);
}

bad('a rule without a target', $users . "vmess_allow;\n" . $server, qr/vmess_allow/);
bad('a rule with too much', $users . "vmess_allow all 80 90;\n" . $server,
    qr/vmess_allow/);


# a secret does not get into messages

for my $conf (user("alice $id color=red;"), user("alice $id;", "bob $id;"),
              user("alice $id;", "alice $id2;"), user("alice ${id}00;"),
              user("$id alice;"), user("$id;"), user('alice ' . substr($id, 0, 28)),
              user("alice $id2 $id;"), user("alice $id $id2;"),
              user('carol ' . substr($id, 0, 28) . ';'),
              user($id =~ tr/-//dr . ' alice;'))
{
    my (undef, $out) = nginx_t($conf . $server);
    unlike($out, qr/b831381d|ad9f3f5b/i, 'an id is in no message');
}
