package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

var ctx = context.Background()

func franzCases() cases {
	table := cases{}
	add := func(name string, body func()) {
		table[name] = func() error { body(); return nil }
	}
	codecs := map[string]kgo.CompressionCodec{
		"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
		"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
	}
	for name, codec := range codecs {
		add("compressed-"+name, func() {
			topic := franzCreate("compressed-"+name, 1, nil)
			franzProduce(topic, plain(300), kgo.ProducerBatchCompression(codec))
			same(franzRead(topic, 300), plain(300))
		})
	}
	for name, acks := range map[string]kgo.Acks{"0": kgo.NoAck(), "1": kgo.LeaderAck(), "all": kgo.AllISRAcks()} {
		add("acks-"+name, func() {
			topic := franzCreate("acks-"+name, 1, nil)
			franzProduce(topic, plain(50), kgo.RequiredAcks(acks))
			same(franzRead(topic, 50), plain(50))
		})
	}
	add("record-shapes", func() {
		topic := franzCreate("record-shapes", 1, map[string]string{"retention.ms": "-1"})
		franzProduce(topic, shapes)
		same(franzRead(topic, len(shapes)), shapes)
	})
	add("write-for-grpc", func() { franzProduce("kafka-to-grpc", shapes) })
	add("read-from-grpc", func() { same(franzRead("grpc-to-kafka", len(shapes)), shapes) })
	add("large-message", func() {
		topic := franzCreate("large-message", 1, map[string]string{"max.message.bytes": "11000000"})
		franzProduce(topic, big(10_000_000), kgo.ProducerBatchMaxBytes(10_500_000))
		same(franzRead(topic, 1), big(10_000_000))
	})
	add("too-large-message", func() {
		topic := franzCreate("too-large-message", 1, nil)
		client := franz(kgo.ProducerBatchMaxBytes(10_500_000), kgo.DisableIdempotentWrite(),
			kgo.ProducerBatchCompression(kgo.NoCompression()))
		defer client.Close()
		result := client.ProduceSync(ctx, franzRecord(topic, big(2_000_000)[0]))
		check(errors.Is(result.FirstErr(), kerr.MessageTooLarge), "%v", result.FirstErr())
	})
	add("idempotent", func() {
		topic := franzCreate("idempotent", 1, nil)
		franzSend(topic, plain(2000), kgo.ProducerBatchMaxBytes(4000))
		same(franzRead(topic, 2000), plain(2000))
	})
	add("automatic-topic", func() {
		franzProduce("automatic-topic", plain(1), kgo.AllowAutoTopicCreation())
		same(franzRead("automatic-topic", 1), plain(1))
	})
	add("seek-and-times", franzTimes)
	add("group-commit", func() { franzCommit("group-commit") })
	add("group-members", func() { franzMembers("group-members", kgo.Balancers(kgo.RoundRobinBalancer())) })
	add("group-range", func() { franzMembers("group-range", kgo.Balancers(kgo.RangeBalancer())) })
	add("group-cooperative", func() { franzMembers("group-cooperative", kgo.Balancers(kgo.CooperativeStickyBalancer())) })
	add("group-static", franzStatic)
	next := context.WithValue(ctx, "opt_in_kafka_next_gen_balancer_beta", true)
	add("group-consumer-commit", func() { franzCommit("group-consumer-commit", kgo.WithContext(next)) })
	add("group-consumer-members", func() { franzMembers("group-consumer-members", kgo.WithContext(next)) })
	add("admin-topics", franzTopics)
	add("admin-partitions", func() {
		franzCreate("admin-partitions", 2, nil)
		franzAdmin(func(admin *kadm.Client) {
			grown, err := admin.CreatePartitions(ctx, 3, "admin-partitions")
			must(err)
			must(grown.Error())
			until("five partitions", func() bool {
				found, err := admin.ListTopics(ctx, "admin-partitions")
				must(err)
				return len(found["admin-partitions"].Partitions) == 5
			})
		})
	})
	add("admin-configs", franzConfigs)
	add("admin-broker-configs", func() {
		franzAdmin(func(admin *kadm.Client) {
			brokers, err := admin.ListBrokers(ctx)
			must(err)
			found, err := admin.DescribeBrokerConfigs(ctx, brokers[0].NodeID)
			must(err)
			check(franzConfig(found, "log.retention.ms") != nil, "log.retention.ms is missing")
		})
	})
	add("admin-delete-records", franzDeleteRecords)
	add("admin-list-offsets", franzListOffsets)
	add("admin-groups", franzGroups)
	return table
}

func franz(options ...kgo.Opt) *kgo.Client {
	client, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(bootstrap)}, options...)...)
	must(err)
	return client
}

func franzAdmin(use func(*kadm.Client)) {
	client := franz()
	defer client.Close()
	use(kadm.NewClient(client))
}

func franzCreate(topic string, partitions int32, configs map[string]string) string {
	franzAdmin(func(admin *kadm.Client) {
		values := map[string]*string{}
		for name, value := range configs {
			values[name] = kadm.StringPtr(value)
		}
		_, err := admin.CreateTopic(ctx, partitions, 1, values, topic)
		must(err)
		until("the new topic is listed", func() bool {
			found, err := admin.ListTopics(ctx)
			must(err)
			return found.Has(topic)
		})
	})
	return topic
}

func franzRecord(topic string, one row) *kgo.Record {
	record := &kgo.Record{Topic: topic, Key: one.key, Value: one.value, Timestamp: time.UnixMilli(one.timestamp)}
	for _, header := range one.headers {
		record.Headers = append(record.Headers, kgo.RecordHeader{Key: header.key, Value: header.value})
	}
	return record
}

func franzProduce(topic string, rows []row, options ...kgo.Opt) {
	franzSend(topic, rows, append(options, kgo.DisableIdempotentWrite())...)
}

// franzSend sends to partition 0, in order, and checks the offsets the broker gave.
func franzSend(topic string, rows []row, options ...kgo.Opt) {
	client := franz(append(options, kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(5*time.Millisecond),
		kgo.MaxProduceRequestsInflightPerBroker(1))...)
	defer client.Close()
	var records []*kgo.Record
	for _, one := range rows {
		records = append(records, franzRecord(topic, one))
	}
	must(client.ProduceSync(ctx, records...).FirstErr())
}

func franzRead(topic string, count int) []row {
	start := map[string]map[int32]kgo.Offset{topic: {0: kgo.NewOffset().AtStart()}}
	client := franz(kgo.ConsumePartitions(start), kgo.FetchMaxPartitionBytes(1_000_000), kgo.FetchMaxWait(500*time.Millisecond))
	defer client.Close()
	var rows []row
	for _, record := range franzTake(client, count) {
		one := row{timestamp: record.Timestamp.UnixMilli(), key: record.Key, value: record.Value}
		for _, found := range record.Headers {
			one.headers = append(one.headers, header{found.Key, found.Value})
		}
		rows = append(rows, one)
	}
	return rows
}

// franzPoll polls for at most `most` records, or as many as there are.
func franzPoll(client *kgo.Client, most int) []*kgo.Record {
	limited, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
	defer cancel()
	fetches := client.PollRecords(limited, most)
	fetches.EachError(func(topic string, partition int32, err error) {
		check(errors.Is(err, context.DeadlineExceeded), "%s %d: %v", topic, partition, err)
	})
	return fetches.Records()
}

func franzTake(client *kgo.Client, count int) []*kgo.Record {
	var found []*kgo.Record
	until(fmt.Sprintf("%d records", count), func() bool {
		found = append(found, franzPoll(client, count-len(found))...)
		return len(found) >= count
	})
	return found
}

func franzTimes() {
	topic := franzCreate("seek-and-times", 1, map[string]string{"retention.ms": "-1"})
	franzProduce(topic, plain(100), kgo.ProducerBatchMaxBytes(2000))
	franzAdmin(func(admin *kadm.Client) {
		for at, wanted := range map[int64]int64{0: 0, 42: 42, 100: 100} {
			found, err := admin.ListOffsetsAfterMilli(ctx, 1_600_000_000_000+at, topic)
			must(err)
			offset, _ := found.Lookup(topic, 0)
			must(offset.Err)
			// For a time after the last record it asks again, for the end.
			equal(offset.Offset, wanted, fmt.Sprintf("offset at %d", at))
		}
	})
	start := map[string]map[int32]kgo.Offset{topic: {0: kgo.NewOffset().At(42)}}
	client := franz(kgo.ConsumePartitions(start))
	defer client.Close()
	equal(franzTake(client, 1)[0].Offset, 42, "offset")
	client.SetOffsets(map[string]map[int32]kgo.EpochOffset{topic: {0: {Epoch: -1, Offset: 7}}})
	until("it goes on at 7", func() bool { found := franzPoll(client, 1); return len(found) > 0 && found[0].Offset == 7 })
}

func franzFill(topic string) {
	franzCreate(topic, 4, nil)
	client := franz(kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.DisableIdempotentWrite())
	defer client.Close()
	var records []*kgo.Record
	for number := range 100 {
		records = append(records, &kgo.Record{Topic: topic, Partition: int32(number % 4), Value: []byte(strconv.Itoa(number))})
	}
	must(client.ProduceSync(ctx, records...).FirstErr())
}

// member is a member of a group that knows what it owns.
type member struct {
	client *kgo.Client
	lock   sync.Mutex
	parts  map[int32]bool
}

func franzMember(topic string, options ...kgo.Opt) *member {
	one := &member{parts: map[int32]bool{}}
	change := func(owned bool) func(context.Context, *kgo.Client, map[string][]int32) {
		return func(_ context.Context, _ *kgo.Client, changed map[string][]int32) {
			one.lock.Lock()
			defer one.lock.Unlock()
			for _, part := range changed[topic] {
				if owned {
					one.parts[part] = true
				} else {
					delete(one.parts, part)
				}
			}
		}
	}
	base := []kgo.Opt{kgo.ConsumerGroup(topic), kgo.ConsumeTopics(topic), kgo.DisableAutoCommit(),
		kgo.HeartbeatInterval(300 * time.Millisecond), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.OnPartitionsAssigned(change(true)), kgo.OnPartitionsRevoked(change(false)), kgo.OnPartitionsLost(change(false))}
	one.client = franz(append(base, options...)...)
	return one
}

func (one *member) owned() map[int32]bool {
	franzPoll(one.client, 100)
	one.lock.Lock()
	defer one.lock.Unlock()
	copied := map[int32]bool{}
	for part := range one.parts {
		copied[part] = true
	}
	return copied
}

func franzCommit(topic string, options ...kgo.Opt) {
	franzFill(topic)
	seen := map[string]bool{}
	for _, count := range []int{40, 60} {
		one := franzMember(topic, options...)
		found := franzTake(one.client, count)
		for _, record := range found {
			seen[string(record.Value)] = true
		}
		must(one.client.CommitRecords(ctx, found...))
		one.client.Close()
	}
	equal(len(seen), 100, "records that were seen")
	franzAdmin(func(admin *kadm.Client) {
		found, err := admin.FetchOffsets(ctx, topic)
		must(err)
		for part := range int32(4) {
			offset, _ := found.Lookup(topic, part)
			equal(offset.At, 25, "committed offset")
		}
	})
}

func franzMembers(topic string, options ...kgo.Opt) {
	franzFill(topic)
	first := franzMember(topic, options...)
	until("one member has all partitions", func() bool { return len(first.owned()) == 4 })
	second := franzMember(topic, options...)
	until("two members share them", func() bool { return shared(first.owned(), second.owned()) })
	first.client.Close()
	until("the other has all of them", func() bool { return len(second.owned()) == 4 })
	second.client.Close()
}

func franzStatic() {
	topic := "group-static"
	franzFill(topic)
	one, two := franzMember(topic, kgo.InstanceID("one")), franzMember(topic, kgo.InstanceID("two"))
	var before, kept map[int32]bool
	until("both have some", func() bool {
		before, kept = one.owned(), two.owned()
		return shared(before, kept)
	})
	one.client.Close()
	again := franzMember(topic, kgo.InstanceID("one"))
	until("it has its own again", func() bool {
		return fmt.Sprint(again.owned()) == fmt.Sprint(before) && fmt.Sprint(two.owned()) == fmt.Sprint(kept)
	})
	again.client.Close()
	two.client.Close()
}

func franzTopics() {
	franzCreate("admin-topics", 3, map[string]string{"retention.ms": "123000"})
	franzAdmin(func(admin *kadm.Client) {
		found, err := admin.ListTopics(ctx, "admin-topics")
		must(err)
		equal(len(found["admin-topics"].Partitions), 3, "partitions")
		_, err = admin.CreateTopic(ctx, 3, 1, nil, "admin-topics")
		check(errors.Is(err, kerr.TopicAlreadyExists), "%v", err)
		_, err = admin.DeleteTopic(ctx, "admin-topics")
		must(err)
		until("it is gone", func() bool {
			found, err := admin.ListTopics(ctx)
			must(err)
			return !found.Has("admin-topics")
		})
	})
}

func franzConfig(found kadm.ResourceConfigs, name string) *kadm.Config {
	for _, config := range found[0].Configs {
		if config.Key == name {
			return &config
		}
	}
	return nil
}

func franzConfigs() {
	topic := franzCreate("admin-configs", 1, map[string]string{"retention.ms": "123000"})
	franzAdmin(func(admin *kadm.Client) {
		value := func(name string) string {
			found, err := admin.DescribeTopicConfigs(ctx, topic)
			must(err)
			return *franzConfig(found, name).Value
		}
		alter := func(op kadm.IncrementalOp, name, value string) {
			answer, err := admin.AlterTopicConfigs(ctx, []kadm.AlterConfig{{Op: op, Name: name, Value: &value}}, topic)
			must(err)
			must(answer[0].Err)
		}
		equal(value("retention.ms"), "123000", "retention.ms")
		alter(kadm.AppendConfig, "cleanup.policy", "compact")
		equal(value("cleanup.policy"), "delete,compact", "cleanup.policy")
		alter(kadm.DeleteConfig, "retention.ms", "")
		equal(value("retention.ms"), "604800000", "retention.ms")
	})
}

func franzDeleteRecords() {
	topic := franzCreate("admin-delete-records", 1, nil)
	franzProduce(topic, plain(20))
	franzAdmin(func(admin *kadm.Client) {
		var before kadm.Offsets
		before.Add(kadm.Offset{Topic: topic, Partition: 0, At: 15, LeaderEpoch: -1})
		deleted, err := admin.DeleteRecords(ctx, before)
		must(err)
		answer, _ := deleted.Lookup(topic, 0)
		must(answer.Err)
		equal(answer.LowWatermark, 15, "low watermark")
		found, err := admin.ListStartOffsets(ctx, topic)
		must(err)
		start, _ := found.Lookup(topic, 0)
		equal(start.Offset, 15, "start offset")
	})
}

func franzListOffsets() {
	topic := franzCreate("admin-list-offsets", 1, map[string]string{"retention.ms": "-1"})
	franzProduce(topic, plain(20))
	franzAdmin(func(admin *kadm.Client) {
		ask := func(list func(context.Context, ...string) (kadm.ListedOffsets, error)) int64 {
			found, err := list(ctx, topic)
			must(err)
			offset, _ := found.Lookup(topic, 0)
			must(offset.Err)
			return offset.Offset
		}
		equal(ask(admin.ListStartOffsets), 0, "start")
		equal(ask(admin.ListEndOffsets), 20, "end")
		equal(ask(admin.ListCommittedOffsets), 20, "stable end")
		equal(ask(admin.ListMaxTimestampOffsets), 19, "greatest timestamp")
	})
}

func franzGroups() {
	group := "admin-groups"
	franzFill(group)
	one := franzMember(group)
	found := franzTake(one.client, 100)
	must(one.client.CommitRecords(ctx, found...))
	franzAdmin(func(admin *kadm.Client) {
		described, err := admin.DescribeGroups(ctx, group)
		must(err)
		equal(described[group].State, "Stable", "state")
		equal(len(described[group].Members), 1, "members")
		lags, err := admin.Lag(ctx, group)
		must(err)
		equal(lags[group].Lag.Total(), 0, "lag")
		one.client.Close()
		listed, err := admin.ListGroups(ctx)
		must(err)
		_, known := listed[group]
		check(known, "it is not listed")
		var offsets kadm.Offsets
		offsets.Add(kadm.Offset{Topic: group, Partition: 2, At: 7, LeaderEpoch: -1})
		must(admin.CommitAllOffsets(ctx, group, offsets))
		committed, err := admin.FetchOffsets(ctx, group)
		must(err)
		offset, _ := committed.Lookup(group, 2)
		equal(offset.At, 7, "committed offset")
		deleted, err := admin.DeleteGroup(ctx, group)
		must(err)
		must(deleted.Err)
		listed, err = admin.ListGroups(ctx)
		must(err)
		_, known = listed[group]
		check(!known, "it is still listed")
	})
}
