# Users are changed a thousand times a second by the API, at four workers, while
# flows run and others begin: no change and no flow is lost.
#
#   TEST_VMESS_SECONDS   how long, 1 by default; if it is set, figures are
#                        printed, and those of new flows without changes as well

use v5.20;

BEGIN { $ENV{TEST_VMESS_ALARM} ||= 300 + 20 * ($ENV{TEST_VMESS_SECONDS} || 0) }

use lib "t/lib";
use TestVMess;
use JSON::PP ();
use List::Util qw(max);
use POSIX ();
use Time::HiRes qw(time sleep);
use VMess::API;

plan "no_plan";
no_shuffle();
workers(4);
worker_connections(2048);

our $SECONDS = $ENV{TEST_VMESS_SECONDS} || 1;
our $RATE = 1000;               # changes a second, of all clients
our $CLIENTS = 4;
our $CONNECTIONS = 8;           # of each
our $USERS = 20;                # of each connection

our $json = JSON::PP->new->canonical;

# a client of HTTP that changes users of its own, each connection others; $text
# gets the users as they are to be, once all changes were confirmed

sub changes {
    my ($client, $n) = @_;

    my @c = map { { number => $_, in => '', users => {}, sock => tcp(http_port()) } } 1 .. $CONNECTIONS;
    my $start = time;
    my ($sent, $done) = (0, 0);
    my (@bad, %took);

    while ($done < $n) {
        for my $c (@c) {
            last if $sent == $n || $start + $sent * $CLIENTS / $RATE > time;
            next if $c->{pending};
            $c->{pending} = change($client, $c);
            $c->{start} = time;
            put($c->{sock}, $c->{pending}[0]);
            $sent++;
        }

        my $set = IO::Select->new(map { $_->{sock} } grep { $_->{pending} } @c);
        my %ready = map { $_ => 1 } $set->can_read(0.002);

        for my $c (grep { $ready{$_->{sock}} } @c) {
            sysread $c->{sock}, $c->{in}, 65536, length $c->{in}
                or die "client $client: an answer ended after $c->{in}\n";
            my ($status, $head) = $c->{in} =~ m{^HTTP/1.1 (\d+)(.*?\r\n\r\n)}s or next;
            next unless $head =~ /chunked/ ? $c->{in} =~ /\r\n0\r\n\r\n\z/
                        : $head !~ /Content-Length: (\d+)/i
                          || length $c->{in} == length("HTTP/1.1 $status$head") + $1;
            my (undef, $want, $commit) = @{ $c->{pending} };
            push @bad, "$status, not $want: $c->{in}" if $status != $want;
            $commit->() if $status == $want;
            push @{ $took{all} }, time - $c->{start};
            @$c{qw(in pending)} = ('', undef);
            $done++;
        }
    }

    return { bad => [ splice @bad, 0, 5 ], done => $done, seconds => time - $start,
             took => $took{all}, users => { map { %{ $_->{users} } } @c } };
}

# a change of one user: the request, the status, and what is then so

sub change {
    my ($client, $c) = @_;
    my $users = $c->{users};
    my $name = "u-$client-$c->{number}-" . int rand $USERS;
    my $n = int rand 1e6;
    my %new = (id => sprintf('%08x-%04x-4000-8000-%06d%06d', rand 2 ** 32, $client,
                             $c->{number} * 1000 + ($name =~ /(\d+)$/)[0], $n), quota => 1 + $n);

    return request(PUT => $name, \%new, 201, sub { $users->{$name} = \%new }) if !$users->{$name};
    return request(DELETE => $name, undef, 204, sub { delete $users->{$name} }) if rand() < 0.2;
    return request(PUT => $name, \%new, 200, sub { $users->{$name} = \%new }) if rand() < 0.2;
    return request(PATCH => $name, { quota => 1 + $n }, 200, sub { $users->{$name}{quota} = 1 + $n });
}

sub request {
    my ($method, $name, $body, $status, $commit) = @_;
    $body = $body ? $json->encode($body) : '';
    return [ "$method /api/users/$name HTTP/1.1\r\nHost: x\r\n"
             . ($body ? "Content-Type: application/json\r\nContent-Length: " . length($body) . "\r\n" : '')
             . "\r\n$body", $status, $commit ];
}

# flows with their echoes until there is the file: how many echoes, and what was
# not as it should be

sub echoes {
    my ($flows, $file) = @_;
    my @f = map { flow(user => 'bob', to => 'echo', via => $_ % 2 ? tcp() : ws()) } 1 .. $flows;
    my ($n, @bad) = (0);
    until (-e $file && $n >= 2 * $flows) {
        for my $i (0 .. $#f) {
            my $text = numbered($n++, 300);
            push @bad, "echo $n of flow $i" if ($f[$i]->send($text)->read(300) // '') ne $text;
        }
        return { n => $n, bad => \@bad } if @bad;
        sleep 0.005;
    }
    return { n => $n, bad => \@bad };
}

# new flows, one after another: what each took

sub handshakes {
    my ($file, $user) = @_;
    my (@took, @bad);
    until (-e $file && @took >= 10) {
        my $start = time;
        my $f = flow(user => $user, to => 'echo', data => 'hello');
        push @bad, 'handshake ' . @took if $f->read(5) ne 'hello';
        push @took, time - $start;
        $f->close;
        return { bad => \@bad, took => \@took } if @bad > 5;
        sleep 0.01;
    }
    return { bad => \@bad, took => \@took };
}

# runs each in a process of its own: a function that gives their results, which
# come by files

sub start {
    my %code = @_;
    my %pid;

    for my $name (keys %code) {
        my $pid = $pid{$name} = fork // die "fork: $!";
        next if $pid;

        $SIG{$_} = 'DEFAULT' for qw(TERM ALRM INT);
        $SIG{PIPE} = 'IGNORE';
        srand $$;

        # those who load must not take the processor from what is measured
        POSIX::nice(19) if $ENV{TEST_VMESS_SECONDS} && $name =~ /client|echo/;
        my $result = eval { $code{$name}->() } // { bad => [ "$name: $@" ] };
        open my $fh, '>', "$Dir/result.$name" or POSIX::_exit(1);
        print $fh $json->encode($result);
        CORE::close $fh;
        POSIX::_exit(0);
    }

    return sub {
        my @names = @_ ? grep { /^$_[0]/ } keys %pid : keys %pid;
        my %result;
        for my $name (@names) {
            waitpid delete $pid{$name}, 0;
            $result{$name} = eval { $json->decode(TestVMess::file_text("$Dir/result.$name")) }
                             // { bad => [ "$name has no result" ] };
        }
        return \%result;
    };
}

sub touch { open my $fh, '>', $_[0] or die "$_[0]: $!" }

sub ms {
    my ($share, @took) = @_;
    @took = sort { $a <=> $b } @took;
    return sprintf '%.1f', 1000 * $took[$#took * $share];
}

sub load {
    my ($title) = @_;
    my $show = $ENV{TEST_VMESS_SECONDS};
    my %idle;

    if ($show) {
        my $results = start(idle => sub { handshakes("$Dir/idle", 'alice') });
        sleep $SECONDS / 2;
        touch("$Dir/idle");
        %idle = %{ $results->()->{idle} };
    }

    my $each = int($SECONDS * $RATE / $CLIENTS);
    my $results = start(
        echo => sub { echoes(20, "$Dir/done") },
        new => sub { handshakes("$Dir/done", 'alice') },
        map { my $i = $_; +"client$i" => sub { changes($i, $each) } } 1 .. $CLIENTS);
    my $clients = $results->('client');
    touch("$Dir/done");
    my ($echo, $new) = @{ $results->() }{qw(echo new)};

    my @bad = map { @{ $_->{bad} } } values %$clients, $echo, $new;
    is(join("\n", splice @bad, 0, 5), '', 'each change was confirmed, each flow went on, each new one was let in');

    my %model = map { %{ $_->{users} // {} } } values %$clients;
    my $api = VMess::API->new(connect => sub { tcp(http_port()) });
    my $list = $api->call(GET => 'users?origin=api&limit=10000&fields=name,id,quota')->{json}{users};
    is_deeply({ map { $_->{name} => { id => $_->{id}, quota => $_->{quota} } } @$list }, \%model,
              'the users are what the clients have made them');

    # they are let in, and those who had an id are not
    my @some = (sort keys %model)[0 .. 9];
    is(scalar(grep { flow(uuid => $model{$_}{id}, to => 'echo', data => 'hello')->read(5) ne 'hello' } @some), 0,
       'ten of them are let in');
    return unless $show;

    my @took = map { @{ $_->{took} } } values %$clients;
    diag(sprintf '%s: %d changes in %.2f s, half took less than %s ms, 99 %% less than %s ms; %d users; %d echoes', $title,
         scalar @took, max(map { $_->{seconds} } values %$clients), ms(0.5, @took), ms(0.99, @took),
         scalar keys %model, $echo->{n});
    diag(sprintf 'new flows: half less than %s ms, 99 %% less than %s ms; without changes %s ms and %s ms',
         map { (ms(0.5, @{ $_->{took} }), ms(0.99, @{ $_->{took} })) } $new, \%idle);
}

sub users { return "vmess_users main:4m $_[0] { alice $User{alice}; bob $User{bob}; }\n" }

our $stream = <<'END';
server { vmess_listen ray; vmess main; proxy_pass vmess_target; }
END

our $config = <<'END';
keepalive_requests 100000;
location /api/ { vmess_api main write; }
location = /ray { vmess_pass ray; }
END

run_tests();

__DATA__

=== TEST 1: a thousand changes a second
--- listen: reuseport
--- servers
echo echo
--- config eval: $::config
--- stream_config eval: main::users('') . $::stream
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
main::load('in memory');
log_count(qr/\[(alert|crit|error)\]/);
--- stream_response: 0


=== TEST 2: with "state", each of them on the disk
--- listen: reuseport
--- servers
echo echo
--- config eval: $::config
--- stream_config eval: main::users('state=%%DIR%%/state') . $::stream
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
main::load('with a state');
log_count(qr/\[(alert|crit|error)\]/);
--- stream_response: 0
