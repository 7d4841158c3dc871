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
        alice $id; 'bob' \"$id2\"; carol 'a text of 30 bytes at most';
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
good('many users', "vmess_users main:6m {\n"
     . join('', map { sprintf "u%d 00000000-0000-4000-8000-%012x;\n", $_, $_ }
                1 .. 3000)
     . "}\n" . $resolver . $server);


# warnings

good('no resolver', $users . $server, qr/resolver/);
good('no resolver, but none needed', $users
     . server('vmess main; vmess_resolve off; proxy_pass 127.0.0.1:1;'));

good('warned of once', user("alice $id alter_id=1;", "bob $id2 alter_id=2;")
     . $resolver . $server, qr/"alter_id" of user "alice"/);

for my $p (qw(expires=2030-01-31 expires=2030-01-31T12:00:00Z expires=2028-02-29T23:59:59-11:30
              expires=1900000000 quota=100g max_conns=64 max_ips=3 disabled class=gold class=A_0.b-Z
              token=0123456789abcdef token=A_-3456789abcdefghijABCDEFGHIJ0123456789klmnopq
              class=xxxxxxxxxxxxxxxxxxxxxxx expires=off quota=off max_conns=off
              rate=2m rate=1g rate_up=1m rate_down=1G rate_up=off))
{
    good("a limit, $p", user("alice $id $p;") . $resolver . $server);
}

for my $p ('hold=30d', 'hold=30d hold_until=2030-01-31',
           'quota_reset=never', map { "quota=1g quota_reset=$_" } qw(day week@7 month month@31 year 30d))
{
    good("a limit, $p", user("alice $id $p;") . $resolver . $server);
}

good('a period of nothing', user("alice $id $_;") . $resolver . $server,
     qr/"quota_reset" of user "alice" has no effect without a "quota" in \S+:\d+/)
    for 'quota_reset=month', 'quota=off quota_reset=30d';

good('no users', user() . $resolver . $server, qr/"main" has no users/);
good('state', "vmess_users main:1m state=x/ { alice $id; }\n" . $resolver . $server);
bad('state without a name', "vmess_users main:1m state= { alice $id; }\n" . $resolver . $server,
    qr/"state="/, qr/name of a directory/);
bad('state of two zones', "vmess_users main:1m state=x { alice $id; }\n"
    . "vmess_users other:1m state=x { bob $id2; }\n" . $resolver . $server,
    qr/same path name ".*x" used in/);
bad('state in a directory of something else', "vmess_users main:1m state=. { alice $id; }\n" . $resolver . $server,
    qr/"state" of vmess_users "main": the directory "\S+" has other files, name one of its own/);
bad('state with a long name', "vmess_users main:1m state=" . 'x' x 4080 . " { alice $id; }\n"
    . $resolver . $server, qr/"state" is too long/);
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

# clients of mKCP come by UDP
for ([udp => 'PORT_1', ''], [tcp => 'PORT_2', qr/clients to UDP port \d+, on which no server with "vmess main"/]) {
    my ($what, $port, $warn) = @$_;
    good("vmess_detour of mKCP to a port of $what", user("alice $id alter_id=1;")
         . $resolver . 'vmess_ciphers aes-128-gcm aes-128-cfb;'
         . 'server { listen 127.0.0.1:%%PORT_1%% udp reuseport; vmess main; vmess_kcp;'
         . " vmess_detour ports=%%$port%%; proxy_pass vmess_target; }"
         . 'server { listen 127.0.0.1:%%PORT_2%%; vmess main; proxy_pass vmess_target; }',
         qr/original header/, $warn || ());
}

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
bad('two ids', user("alice $id $id2;") . $server, qr/word without "=".*"alice"/,
    qr/is the semicolon missing\?/);
bad('a line without its semicolon', user("alice $id\nbob $id2;") . $server,
    qr/"alice", is the semicolon missing\?/);
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
    qr/color/, qr/alice/, qr/parameters are "alter_id=", .*"class=", "token=", "also=", "until="/);
bad('a parameter without a value', user("alice $id quota;") . $server, qr/"quota=/);
bad('a word with a value', user("alice $id disabled=1;") . $server,
    qr/invalid parameter "disabled=1" of user "alice", it must be "disabled" alone/);
bad('a parameter for an id', user("alice $_ $id;") . $server,
    qr/"\Q$_\E[^"]*" is in the place of the id of user "alice", a line must be "name id/)
    for 'quota=', 'disabled';
bad('the name of the defaults in error', "vmess_users main:1m { vmess_user_default quota=1g; }\n" . $server,
    qr/"quota=" is in the place of the id of user "vmess_user_default"/);
bad('a duplicate parameter', user("alice $id quota=1g quota=2g;") . $server,
    qr/duplicate parameter "quota=" of user "alice"/);

for my $p (qw(alter_id=x alter_id=-1 alter_id=100000 expires=tomorrow
              expires=2027-13-01 expires=2027-02-30 expires=1969-12-31
              expires=-001-01-01 expires=1970-01-01 expires=0 expires=-1
              expires=2027-01-31T expires=2027-01-31T12:00:00 expires=2027-01-31T24:00:00Z
              expires=2027-01-31T12:00:00Zx expires=2027-01-31T12:00:00+0100
              expires=2027-01-31T12:00:00+25:00 expires=2027-01-31x12:00:00Z
              expires=99999999999999999999 expires=20270131 expires=1700000000000 quota=x quota=-1 rate=fast
              rate= rate=0 rate=-1 rate=1t rate=9999999999g max_conns=0 max_conns=x max_ips=0 max_ips=1.5))
{
    bad("the parameter $p", user("alice $id $p;") . $server, qr/\Q$p\E/, qr/alice/);
}

for my $p (qw(hold=0 hold=30x hold=36501d hold_until=soon quota_reset=week@0 quota_reset=month@32
              quota_reset=hour quota_reset= rate_up=0 rate_down=fast class= class=a/b class=\xc3\xa9
              hold_until=0 token= token=too-short), 'token=' . 'x' x 48, 'token=' . 'x' x 20 . '/',
             'class=' . 'x' x 24)
{
    bad("the parameter $p", user("alice $id $p;") . $server, qr/\Q$p\E" of user "alice"/);
}

bad('two users with a token', user("alice $id token=0123456789abcdef;", "bob $id2 token=0123456789abcdef;") . $server,
    qr/users "alice" and "bob" in vmess_users "main" have the same "token="/);

# defaults of a zone
my $defaults = sub { "vmess_users main:1m { @_ }\n" . $resolver . $server };

bad('a token for all', "vmess_users main:1m { vmess_user_defaults token=0123456789abcdef; alice $id; }\n" . $server,
    qr/each user needs one of its own/);
good('defaults', $defaults->("vmess_user_defaults quota=1g disabled; alice $id;"));
good('a period by default', $defaults->("vmess_user_defaults quota_reset=month; alice $id quota=1g; bob $id2;"));
good('a period of a default', $defaults->("vmess_user_defaults quota=1g; alice $id quota_reset=month;"));
good('defaults that are lifted', $defaults->("vmess_user_defaults rate=1m max_conns=1 quota=1g;"
     . " alice $id rate=off max_conns=off quota=off;"));
good('defaults of time that are lifted', $defaults->("vmess_user_defaults hold=1d hold_until=2030-01-31"
     . " expires=2030-01-31; alice $id hold=off expires=off;"));
good('a default that one cannot rely on', $defaults->("vmess_user_defaults alter_id=1;"
     . " alice $id max_ips=2;"), qr/"alter_id" in "vmess_user_defaults" in vmess_users/);
good('a default for users of old clients', $defaults->("vmess_user_defaults alter_id=1; alice $id;"),
     qr/"alter_id" in "vmess_user_defaults" in vmess_users "main" permits/);
bad('defaults behind a user', $defaults->("alice $id; vmess_user_defaults quota=1g;"),
    qr/"vmess_user_defaults" stands behind users of vmess_users "main", put it before/);
bad('defaults twice', $defaults->("vmess_user_defaults quota=1g; vmess_user_defaults quota=1g;"),
    qr/"vmess_user_defaults" is duplicate in vmess_users "main", put all/);
bad('no defaults', $defaults->("vmess_user_defaults;"), qr/"vmess_user_defaults" has no parameters/);
bad('a default that is wrong', $defaults->("vmess_user_defaults quota=x;"),
    qr/invalid parameter "quota=x" in "vmess_user_defaults", it must be a size/);
bad('a default that is unknown', $defaults->("vmess_user_defaults color=red;"),
    qr/unknown parameter "color=" in "vmess_user_defaults", parameters are/);
bad('a default without another', $defaults->("vmess_user_defaults hold_until=2030-01-31;"),
    qr/in "vmess_user_defaults": "hold_until" has no effect/);

# a second id
good('a second id', user("alice $id also=$id2;") . $resolver . $server);
good('a second id for a time', user("alice $id quota=1g also=$id2 until=2030-01-31 disabled;")
     . $resolver . $server);
bad('a second id that is the first', user("alice $id also=$id;") . $server,
    qr/"also=" of user "alice" is the id that the user has, give another/);
bad('a second id of another user', user("alice $id also=$id2;", "bob $id2;") . $server,
    qr/users "alice" and "bob" in vmess_users "main" have the same id/);
bad('the second id of another user', user("alice $id;", "bob $id2 also=$id;") . $server,
    qr/users "alice" and "bob" in vmess_users "main" have the same id/);
bad('a second id that is none', user("alice $id also=" . 'x' x 31 . ';') . $server,
    qr/invalid id of user "alice"/);
bad('two second ids', user("alice $id also=$id2 also=$id2;") . $server,
    qr/duplicate parameter "also=" of user "alice"/);
bad('two times', user("alice $id also=$id2 until=2030-01-31 until=2030-01-31;") . $server,
    qr/duplicate parameter "until=" of user "alice"/);
bad('a time without a second id', user("alice $id until=2030-01-31;") . $server,
    qr/user "alice": "until" has no effect without a second id, give "also="/);
bad('a time that is none', user("alice $id also=$id2 until=soon;") . $server,
    qr/invalid parameter "until=soon" of user "alice", it must be a time/);

bad('hold_until without hold', user("alice $id hold_until=2030-01-31;") . $server,
    qr/user "alice": "hold_until" has no effect without "hold", give/);

# "include" is no name: its parameters would have made the path an id
bad("include with $_", user("include users.conf $_;") . $server,
    qr/"include" in "vmess_users" takes one file/) for 'rate=2m', $id;

# names that look like others
for (["\x7f", 'DEL'], ["\xc2\xa0", 'a no-break space'],
     ["\xe2\x80\x8b", 'a zero width space'], ["\xef\xbb\xbf", 'a byte order mark'],
     ["\xe2\x80\xae", 'an override of direction'], ["\xc2\xad", 'a soft hyphen'],
     ["\xe3\x85\xa4", 'a filler'], ["\xf3\xa0\x81\xa1", 'a tag'],
     ["\xff", 'a byte that is no UTF-8'], ["\xe2\x80", 'half of a character'],
     ["\xed\xa0\x80", 'a surrogate'], ["\0", 'a zero byte'], ["\x1b", 'ESC'])
{
    my ($ch, $what) = @$_;
    bad("a name with $what", user("'ali${ch}ce' $id;") . $server,
        qr/name of user ".*" has an invalid character/);
    bad("a zone with $what", "vmess_users 'ma${ch}in:1m' { alice $id; }" . $server,
        $ch eq "\0" ? qr/zero byte in the arguments of "vmess_users"/
                    : qr/name of vmess_users ".*" has an invalid character/);
}
good('names of other scripts', user("\xc3\xa9mile $id;", "\xe5\xbc\xa0\xe4\xb8\x89 $id2;")
     . $resolver . $server);

# a byte order mark at the start of a file
for (['its first user', "\xef\xbb\xbfalice $id;\n"],
     ['a line of its own', "\xef\xbb\xbf\nalice $id;\n"],
     ['include', "\xef\xbb\xbfinclude two;\n"])
{
    my ($what, $text) = @$_;
    good("a byte order mark before $what", user('include one;', "bob $id2;")
         . "vmess_users other:1m { include one; carol $id2; }"
         . $resolver . $server
         . 'server { listen 127.0.0.1:%%PORT_2%%; vmess other; proxy_pass vmess_target; }',
         { files => { one => $text, two => "\xef\xbb\xbfalice $id;\n" } });
    my (undef, $out) = nginx_t(user("alice $id2;", 'include one;') . $resolver . $server,
        files => { one => $text, two => $text =~ /include/ ? "alice $id;" : '' });
    like($out, qr/duplicate user "alice"/, 'it is no part of the name');
}
{
    my ($status, $out) = nginx_t(user('include one;') . $resolver . $server,
        files => { one => "\xef\xbb\xbf# users\nalice $id;\n" });
    like($out, qr/comment follows the byte order mark .* in \S+one:2/,
         'a comment behind the mark, which is none to nginx');
    ($status, $out) = nginx_t(user('include one;') . $resolver . $server,
        files => { one => "bob $id2;\n\xef\xbb\xbfalice $id;\n" });
    like($out, qr/invalid character/, 'a mark elsewhere is not skipped');
}

# ids that can be guessed
for my $guess (qw(alice password example 123456789012345 aaaaaaaaaaaaaaaaaaaaaaaa
                  00000000-0000-0000-0000-000000000000
                  ffffffffffffffffffffffffffffffff))
{
    good("the id $guess", user("alice $guess;") . $resolver . $server,
         qr/id of user "alice" is easily guessed.* in \S+:\d+/);
}
good('a text that is none', user('alice correct-horse-battery-st;') . $resolver
     . $server);

# the line of the user, not that of the end of the block
{
    my ($status, $out) = nginx_t("vmess_users main:1m {\n# 2\nalice $id;\n"
        . "bob password;\ncarol 'a text of 30 bytes at most' alter_id=1;\n\n\n}\n"
        . $resolver . $server);
    my ($first) = $out =~ /id of user "bob" .*:(\d+)$/m;
    my ($second) = $out =~ /"alter_id" of user "carol" .*:(\d+)$/m;
    is($second - $first, 1, 'warnings are at the line of the user');
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
               1 .. 2000)
    . "}\n" . $resolver . $server,
    qr/"main": 2000 users do not fit into 1024k .*use a size of \d+k/);
bad('an empty name of a zone', "vmess_users :1m { alice $id; }\n" . $server,
    qr/name/);
bad('a zone called off', "vmess_users off:1m { alice $id; }\n" . $server, qr/off/);
bad('no name of a zone', "vmess_users { alice $id; }\n" . $server, qr/vmess_users/);
bad('a size apart from the name', "vmess_users main 16m { alice $id; }\n" . $server,
    qr/"16m" in "vmess_users", a size stands behind the name: "main:16m"/);
bad('a size beyond all memory', "vmess_users main:9000000000m { alice $id; }\n" . $server,
    qr/no memory for the size of "vmess_users main:9000000000m"/)
    unless $ENV{ASAN_OPTIONS};
good('a zone that no server has', $users . "vmess_users other:1m { alice $id; }\n"
     . $resolver . $server, qr/no server has "vmess other"/);
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
bad("ciphers twice, $_", $users . "vmess_ciphers $_;\n" . $server,
    qr/duplicate.*"vmess_ciphers"|"vmess_ciphers" directive is duplicate/)
    for 'none none', 'none; vmess_ciphers zero';
bad('mux without what it carries', $users . "vmess_commands mux;\n" . $server,
    qr/"vmess_commands" directive needs "tcp" or "udp" beside "mux"/);
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
           'ports=1-2 refresh=x', 'ports=1-2 port=3', 'ports=1-2 ports=3-4')
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
    for 'on path=/a?b', 'on host=a:80', 'on host=[::1]:80', 'on host=[',
        'on host=[x]', 'on host=*.x', 'on host=a,b', "'on' 'path=/a b'",
        'on wait=1s wait=2s', 'on path="/a"';
good("vmess_http_header $_", $users . $resolver . server("vmess main; vmess_http_header $_;"
    . ' proxy_pass vmess_target;'))
    for 'on host=[::1] host=[::1]', 'on host=A.Example_1 path=/a path=/b';

# what comes by vmess_pass has no such things
for my $d ('vmess_detour ports=1-2', 'vmess_http_header on') {
    bad("$d without a socket", $users . $resolver . "server { vmess_listen ray;"
        . " vmess main; $d; proxy_pass vmess_target; }", qr/needs a "listen"/);
}
bad('vmess_http_header with UDP alone', $users . $resolver
    . 'server { listen 127.0.0.1:%%PORT_1%% udp reuseport; vmess_kcp;'
    . ' vmess main; vmess_http_header on; proxy_pass vmess_target; }',
    qr/"vmess_http_header" needs a "listen" of TCP/);

# one parser of parameters: all say it in the same words
for (['vmess_kcp mtu=1000 mtu=1000', 'mtu='], ['vmess_kcp congestion congestion', 'congestion'],
     ['vmess_kcp seal=none seal=none', 'seal='], ['vmess_kcp header=dns header=utp', 'header='],
     ['vmess_detour ports=1 ports=2', 'ports='],
     ['vmess_http_header on wait=1s wait=1s', 'wait='])
{
    my ($d, $param) = @$_;
    my ($name) = split ' ', $d;
    bad("$d", $users . $resolver . "server { listen 127.0.0.1:%%PORT_1%%;"
        . " listen 127.0.0.1:%%PORT_1%% udp reuseport; vmess main; $d;"
        . ' proxy_pass vmess_target; }', qr/duplicate parameter "$param" in "$name" in/);
    bad("$name colour=red", $users . $resolver . "server { listen 127.0.0.1:%%PORT_1%%;"
        . " listen 127.0.0.1:%%PORT_1%% udp reuseport; vmess main;"
        . ($name =~ /http/ ? " $name on" : " $name") . ' colour=red;'
        . ' proxy_pass vmess_target; }',
        qr/unknown parameter "colour=" in "$name", parameters are "$param|unknown parameter "colour=" in "$name"/);
}

# nginx compares strings up to a zero byte
for my $d ("vmess_resolve 'off\0x'", "vmess_deny 'all\0x'", "vmess 'off\0x'",
           "vmess_fallback 'off\0x'", "vmess_ciphers 'none\0x'", "vmess_commands 'tcp\0x'",
           "vmess_udp_filter 'on\0x'", "vmess_handshake_timeout '1s\0x'",
           "vmess_mux_streams '1\0x'")
{
    my ($name) = split ' ', $d;
    bad("a zero byte in $name", $users . "$d;\n" . $server,
        qr/zero byte in the arguments of "$name"/);
}
for my $d ("vmess_http_header 'on\0x'", "vmess_listen 'a\0b'",
           "vmess_detour 'ports=1\0x'", "vmess_kcp 'congestion\0x'")
{
    my ($name) = split ' ', $d;
    bad("a zero byte in $name", $users . server("vmess main; $d; proxy_pass vmess_target;"),
        qr/zero byte in the arguments of "$name"/);
}
bad('a zero byte in a parameter of a user', user("alice $id 'quota=1g\0x';") . $server,
    qr/zero byte in the arguments of "alice"/);

# directives that need another one
for my $d ('vmess_fallback 127.0.0.1:1', 'vmess_commands tcp', 'vmess_ciphers zero',
           'vmess_mux_streams 1', 'vmess_mux_buffer 1m', 'vmess_factor 2', 'vmess_udp_filter on',
           'vmess_handshake_timeout 1s', 'vmess_resolve off', 'vmess_deny private')
{
    my ($name) = split ' ', $d;
    good("$d without vmess", $users . $resolver . $server
         . "server { listen 127.0.0.1:%%PORT_2%%; $d; proxy_pass 127.0.0.1:1; }",
         qr/"$name".* has no effect in the server in \S+:\d+, which has no "vmess"/);
    good("$d with vmess off", $users . $resolver . $server
         . "server { listen 127.0.0.1:%%PORT_2%%; vmess off; $d; proxy_pass 127.0.0.1:1; }");
}
good('a certificate without TLS', $users . $resolver
     . server('vmess main; ssl_certificate %%CERT%%; ssl_certificate_key %%KEY%%;'
              . ' proxy_pass vmess_target;'),
     qr/"ssl_certificate" has no effect in the server .*, add "ssl" to its "listen"/);
good('a certificate for all servers', $users . $resolver
     . "ssl_certificate %%CERT%%; ssl_certificate_key %%KEY%%;\n" . $server);
good('a certificate with TLS', $users . $resolver
     . 'server { listen 127.0.0.1:%%PORT_1%% ssl; listen 127.0.0.1:%%PORT_2%%; vmess main;'
     . ' ssl_certificate %%CERT%%; ssl_certificate_key %%KEY%%; proxy_pass vmess_target; }');
good("a limit by $_", $users . $resolver . "limit_conn_zone $_ zone=u:1m;\n" . $server,
     qr/"limit_conn_zone \Q$_\E" of zone "u" counts sub-connections of mux only/)
    for '$vmess_user', '$remote_addr${vmess_user}';
good('a limit by another variable', $users . $resolver
     . "limit_conn_zone \$binary_remote_addr zone=u:1m;\n" . $server);
for my $d ('vmess_kcp', 'vmess_detour ports=1-2', 'vmess_http_header on') {
    bad("$d without vmess", $users . 'server { listen 127.0.0.1:%%PORT_1%%;'
        . ' listen 127.0.0.1:%%PORT_1%% udp reuseport;'
        . " $d; proxy_pass 127.0.0.1:1; }", qr/need "vmess"/);
}
bad("vmess_mux_streams $_", $users . "vmess_mux_streams $_;\n" . $server,
    qr/"\Q$_\E" in "vmess_mux_streams", it must be a number from 1 to 65535/)
    for 0, 65536, 'x';
bad("$_ twice", $users . "$_; $_;\n" . $server, qr/"\Q@{[ (split)[0] ]}\E" directive is duplicate/)
    for 'vmess_mux_streams 1', 'vmess_mux_buffer 1m', 'vmess_handshake_timeout 1s';
good("vmess_factor $_", $users . $resolver . "vmess_factor $_;\n" . $server)
    for 0, 0.5, 1, 1.125, 1000;
bad("vmess_factor $_", $users . $resolver . "vmess_factor $_;\n" . $server,
    qr/invalid value "\Q$_\E" in "vmess_factor", it must be a number from 0 to 1000/)
    for '.5', '-1', '1000.1', '0.0005', 'x', '1,5', '.';
bad("vmess_mux_buffer of $_ bytes", $users
    . "vmess_mux_buffer $_;\n" . $server, qr/"vmess_mux_buffer".*from 16k to 64m/)
    for 16383, 67108865;
good("vmess_mux_buffer $_", $users . $resolver . "vmess_mux_buffer $_;\n" . $server)
    for '16k', '64m';
bad('too many ids', user(join ' ', map { sprintf 'u%d 00000000-0000-4000-8000-%012x alter_id=256;', $_, $_ } 1 .. 4097)
    . $server, qr/1048832 ids by "alter_id".*1048576/);
bad("vmess_resolve $_", $users . "vmess_resolve $_;\n" . $server, qr/"vmess_resolve"/)
    for 'off ipv4', 'on ipv5', 'ipv4 on', 'on ipv4 ipv6', 'prefer';
good("vmess_resolve $_", $users . $resolver . "vmess_resolve $_;\n" . $server)
    for 'on ipv4', 'ipv6', 'prefer_ipv4', 'on prefer_ipv6', '$hostname prefer_ipv4';
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
               streams=x timeout=0 timeout=x timeout= buffer=63k buffer=1g gso= gso=yes x);

    bad('vmess_quic alpn=h3', quic('alpn=h3'), qr/unknown parameter "alpn="/);

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
              '"a b"', '.', '..a', 'a..b/c', 'a:80', 'a/b', '~(', '""', 'ALL',
              'Private', 'off', 'on', 'any')
{
    bad("the rule $rule", $users . "vmess_deny $rule;\n" . $server,
        $rule eq '~(' ? qr/"vmess_deny ~\(".*parenthes/
                      : qr/"\Q@{[ $rule =~ tr{"}{}dr ]}\E" in "vmess_deny"/);
}

# the first rule that matches decides: nothing comes behind "all"
for my $rules ('vmess_allow all; vmess_deny private', 'vmess_allow all; vmess_deny 10.0.0.0/8 25',
               'vmess_deny all; vmess_allow a.test', 'vmess_deny all; vmess_allow all 80',
               'vmess_allow a.test; vmess_deny all; vmess_allow b.test',
               'vmess_deny a.test; vmess_deny all; vmess_allow 10.0.0.1',
               'vmess_allow all; vmess_allow all')
{
    my ($last) = $rules =~ /.*; (\S+ \S+)/;
    bad("the rules $rules", $users . "$rules;\n" . $server,
        qr/"\Q$last\E" can never match, put it before the rule for "all"/);
}
good("the rules $_", $users . $resolver . "$_;\n" . $server)
    for 'vmess_allow all 443; vmess_deny private',
        'vmess_allow a.test; vmess_deny all; vmess_allow 10.0.0.1 80',
        'vmess_allow ~a; vmess_allow all; vmess_deny private',
        'vmess_deny ::ffff:0:0/96; vmess_allow ::ffff:10.0.0.0/104';

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
