package main

import (
	"errors"
	"fmt"
	"sort"
	"strconv"
	"sync"
	"time"

	"github.com/IBM/sarama"
)

func saramaCases() cases {
	table := cases{}
	add := func(name string, body func()) {
		table[name] = func() error { body(); return nil }
	}
	codecs := map[string]sarama.CompressionCodec{
		"none": sarama.CompressionNone, "gzip": sarama.CompressionGZIP, "snappy": sarama.CompressionSnappy,
		"lz4": sarama.CompressionLZ4, "zstd": sarama.CompressionZSTD,
	}
	for name, codec := range codecs {
		add("compressed-"+name, func() {
			topic := saramaCreate("compressed-"+name, 1, nil)
			saramaProduce(topic, plain(300), func(config *sarama.Config) { config.Producer.Compression = codec })
			same(saramaRead(topic, 300), plain(300))
		})
	}
	levels := map[string]sarama.RequiredAcks{"0": sarama.NoResponse, "1": sarama.WaitForLocal, "all": sarama.WaitForAll}
	for name, acks := range levels {
		add("acks-"+name, func() {
			topic := saramaCreate("acks-"+name, 1, nil)
			saramaProduce(topic, plain(50), func(config *sarama.Config) { config.Producer.RequiredAcks = acks })
			same(saramaRead(topic, 50), plain(50))
		})
	}
	add("record-shapes", func() {
		topic := saramaCreate("record-shapes", 1, map[string]string{"retention.ms": "-1"})
		saramaProduce(topic, shapes)
		same(saramaRead(topic, len(shapes)), shapes)
	})
	add("write-for-grpc", func() { saramaProduce("kafka-to-grpc", shapes) })
	add("read-from-grpc", func() { same(saramaRead("grpc-to-kafka", len(shapes)), shapes) })
	add("large-message", func() {
		topic := saramaCreate("large-message", 1, map[string]string{"max.message.bytes": "11000000"})
		saramaProduce(topic, big(10_000_000), func(config *sarama.Config) { config.Producer.MaxMessageBytes = 10_500_000 })
		same(saramaRead(topic, 1), big(10_000_000))
	})
	add("too-large-message", func() {
		topic := saramaCreate("too-large-message", 1, nil)
		err := saramaSend(topic, big(2_000_000), func(config *sarama.Config) { config.Producer.MaxMessageBytes = 10_500_000 })
		check(errors.Is(err, sarama.ErrMessageSizeTooLarge), "%v", err)
	})
	add("idempotent", func() {
		topic := saramaCreate("idempotent", 1, nil)
		saramaProduce(topic, plain(2000), func(config *sarama.Config) {
			config.Producer.Idempotent = true
			config.Producer.Flush.MaxMessages = 10
			config.Net.MaxOpenRequests = 1
		})
		same(saramaRead(topic, 2000), plain(2000))
	})
	add("automatic-topic", func() {
		saramaProduce("automatic-topic", plain(1))
		same(saramaRead("automatic-topic", 1), plain(1))
	})
	add("seek-and-times", saramaTimes)
	add("group-commit", saramaCommit)
	strategies := map[string]sarama.BalanceStrategy{
		"members": sarama.NewBalanceStrategyRange(), "roundrobin": sarama.NewBalanceStrategyRoundRobin(),
		"sticky": sarama.NewBalanceStrategySticky(),
	}
	for name, strategy := range strategies {
		add("group-"+name, func() { saramaMembers("group-"+name, strategy) })
	}
	add("group-static", saramaStatic)
	add("admin-topics", saramaTopics)
	add("admin-partitions", func() {
		saramaCreate("admin-partitions", 2, nil)
		saramaAdmin(func(admin sarama.ClusterAdmin) {
			must(admin.CreatePartitions("admin-partitions", 5, nil, false))
			until("five partitions", func() bool {
				found, err := admin.DescribeTopics([]string{"admin-partitions"})
				must(err)
				return len(found[0].Partitions) == 5
			})
		})
	})
	add("admin-configs", saramaConfigs)
	add("admin-delete-records", func() {
		topic := saramaCreate("admin-delete-records", 1, nil)
		saramaProduce(topic, plain(20))
		saramaAdmin(func(admin sarama.ClusterAdmin) { must(admin.DeleteRecords(topic, map[int32]int64{0: 15})) })
		equal(saramaOffset(topic, sarama.OffsetOldest), 15, "start offset")
	})
	add("admin-groups", saramaGroups)
	return table
}

func saramaConfig(changes ...func(*sarama.Config)) *sarama.Config {
	config := sarama.NewConfig()
	config.Version = sarama.V4_0_0_0
	config.Producer.Return.Successes = true
	config.Producer.Partitioner = sarama.NewManualPartitioner
	// What is only written is not yet below the high watermark.
	config.Producer.RequiredAcks = sarama.WaitForAll
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	config.Consumer.Offsets.AutoCommit.Enable = false
	config.Consumer.Group.Heartbeat.Interval = 300 * time.Millisecond
	for _, change := range changes {
		change(config)
	}
	return config
}

func saramaClient(changes ...func(*sarama.Config)) sarama.Client {
	client, err := sarama.NewClient([]string{bootstrap}, saramaConfig(changes...))
	must(err)
	return client
}

func saramaAdmin(use func(sarama.ClusterAdmin)) {
	admin, err := sarama.NewClusterAdmin([]string{bootstrap}, saramaConfig())
	must(err)
	defer admin.Close()
	use(admin)
}

func saramaCreate(topic string, partitions int32, configs map[string]string) string {
	detail := &sarama.TopicDetail{NumPartitions: partitions, ReplicationFactor: 1, ConfigEntries: map[string]*string{}}
	for name, value := range configs {
		detail.ConfigEntries[name] = &value
	}
	saramaAdmin(func(admin sarama.ClusterAdmin) {
		must(admin.CreateTopic(topic, detail, false))
		until("the new topic is listed", func() bool {
			found, err := admin.ListTopics()
			must(err)
			_, known := found[topic]
			return known
		})
	})
	return topic
}

func saramaProduce(topic string, rows []row, changes ...func(*sarama.Config)) {
	must(saramaSend(topic, rows, changes...))
}

// saramaSend sends to partition 0, in order.
func saramaSend(topic string, rows []row, changes ...func(*sarama.Config)) error {
	producer, err := sarama.NewSyncProducer([]string{bootstrap}, saramaConfig(changes...))
	must(err)
	defer producer.Close()
	var messages []*sarama.ProducerMessage
	for _, one := range rows {
		message := &sarama.ProducerMessage{Topic: topic, Timestamp: time.UnixMilli(one.timestamp)}
		if one.key != nil {
			message.Key = sarama.ByteEncoder(one.key)
		}
		if one.value != nil {
			message.Value = sarama.ByteEncoder(one.value)
		}
		for _, header := range one.headers {
			message.Headers = append(message.Headers, sarama.RecordHeader{Key: []byte(header.key), Value: header.value})
		}
		messages = append(messages, message)
	}
	err = producer.SendMessages(messages)
	var failed sarama.ProducerErrors
	if errors.As(err, &failed) {
		return failed[0].Err
	}
	return err
}

func saramaFrom(topic string, offset int64, count int) []*sarama.ConsumerMessage {
	consumer, err := sarama.NewConsumer([]string{bootstrap}, saramaConfig())
	must(err)
	defer consumer.Close()
	partition, err := consumer.ConsumePartition(topic, 0, offset)
	must(err)
	defer partition.Close()
	var found []*sarama.ConsumerMessage
	for len(found) < count {
		select {
		case message := <-partition.Messages():
			found = append(found, message)
		case <-time.After(waitLimit):
			check(false, "%d records, then none for %v", len(found), waitLimit)
		}
	}
	return found
}

func saramaRead(topic string, count int) []row {
	var rows []row
	for _, message := range saramaFrom(topic, sarama.OffsetOldest, count) {
		one := row{timestamp: message.Timestamp.UnixMilli(), key: message.Key, value: message.Value}
		for _, found := range message.Headers {
			one.headers = append(one.headers, header{string(found.Key), found.Value})
		}
		rows = append(rows, one)
	}
	return rows
}

func saramaOffset(topic string, at int64) int64 {
	client := saramaClient()
	defer client.Close()
	offset, err := client.GetOffset(topic, 0, at)
	must(err)
	return offset
}

func saramaTimes() {
	topic := saramaCreate("seek-and-times", 1, map[string]string{"retention.ms": "-1"})
	saramaProduce(topic, plain(100), func(config *sarama.Config) { config.Producer.Flush.MaxMessages = 7 })
	for at, wanted := range map[int64]int64{0: 0, 42: 42, 100: -1} {
		equal(saramaOffset(topic, 1_600_000_000_000+at), wanted, fmt.Sprintf("offset at %d", at))
	}
	equal(saramaOffset(topic, sarama.OffsetNewest), 100, "end offset")
	equal(saramaFrom(topic, 42, 1)[0].Offset, 42, "offset")
}

func saramaFill(topic string) {
	saramaCreate(topic, 4, nil)
	producer, err := sarama.NewSyncProducer([]string{bootstrap}, saramaConfig())
	must(err)
	defer producer.Close()
	var messages []*sarama.ProducerMessage
	for number := range 100 {
		value := sarama.StringEncoder(strconv.Itoa(number))
		messages = append(messages, &sarama.ProducerMessage{Topic: topic, Partition: int32(number % 4), Value: value})
	}
	must(producer.SendMessages(messages))
}

// saramaMember is a member of a group that marks what it reads, at most `most` records.
type saramaMember struct {
	group sarama.ConsumerGroup
	lock  sync.Mutex
	parts map[int32]bool
	seen  map[string]bool
	most  int
	done  chan struct{}
}

func (one *saramaMember) Setup(session sarama.ConsumerGroupSession) error {
	one.lock.Lock()
	defer one.lock.Unlock()
	one.parts = map[int32]bool{}
	for _, parts := range session.Claims() {
		for _, part := range parts {
			one.parts[part] = true
		}
	}
	return nil
}

func (one *saramaMember) Cleanup(sarama.ConsumerGroupSession) error {
	one.lock.Lock()
	defer one.lock.Unlock()
	one.parts = nil
	return nil
}

func (one *saramaMember) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for message := range claim.Messages() {
		one.lock.Lock()
		wanted := len(one.seen) < one.most
		if wanted {
			one.seen[string(message.Value)] = true
			session.MarkMessage(message, "")
		}
		one.lock.Unlock()
		if wanted {
			session.Commit()
		}
	}
	return nil
}

func saramaJoin(topic string, most int, changes ...func(*sarama.Config)) *saramaMember {
	group, err := sarama.NewConsumerGroup([]string{bootstrap}, topic, saramaConfig(changes...))
	must(err)
	one := &saramaMember{group: group, seen: map[string]bool{}, most: most, done: make(chan struct{})}
	go func() {
		defer close(one.done)
		for group.Consume(ctx, []string{topic}, one) == nil {
		}
	}()
	return one
}

func (one *saramaMember) leave() {
	must(one.group.Close())
	<-one.done
}

func (one *saramaMember) owned() map[int32]bool {
	one.lock.Lock()
	defer one.lock.Unlock()
	return one.parts
}

func (one *saramaMember) records() []string {
	one.lock.Lock()
	defer one.lock.Unlock()
	var values []string
	for value := range one.seen {
		values = append(values, value)
	}
	sort.Strings(values)
	return values
}

func saramaCommit() {
	topic := "group-commit"
	saramaFill(topic)
	seen := map[string]bool{}
	for _, count := range []int{40, 60} {
		one := saramaJoin(topic, count)
		until(fmt.Sprintf("%d records", count), func() bool { return len(one.records()) == count })
		one.leave()
		for _, value := range one.records() {
			seen[value] = true
		}
	}
	equal(len(seen), 100, "records that were seen")
}

func saramaMembers(topic string, strategy sarama.BalanceStrategy) {
	saramaFill(topic)
	with := func(config *sarama.Config) {
		config.Consumer.Group.Rebalance.GroupStrategies = []sarama.BalanceStrategy{strategy}
	}
	first := saramaJoin(topic, 100, with)
	until("one member has all partitions", func() bool { return len(first.owned()) == 4 })
	second := saramaJoin(topic, 100, with)
	until("two members share them", func() bool { return shared(first.owned(), second.owned()) })
	first.leave()
	until("the other has all of them", func() bool { return len(second.owned()) == 4 })
	second.leave()
}

func saramaStatic() {
	topic := "group-static"
	saramaFill(topic)
	named := func(name string) func(*sarama.Config) {
		return func(config *sarama.Config) { config.Consumer.Group.InstanceId = name }
	}
	one, two := saramaJoin(topic, 100, named("one")), saramaJoin(topic, 100, named("two"))
	var before, kept map[int32]bool
	until("both have some", func() bool {
		before, kept = one.owned(), two.owned()
		return shared(before, kept)
	})
	one.leave()
	again := saramaJoin(topic, 100, named("one"))
	until("it has its own again", func() bool {
		return fmt.Sprint(again.owned()) == fmt.Sprint(before) && fmt.Sprint(two.owned()) == fmt.Sprint(kept)
	})
	again.leave()
	two.leave()
}

func saramaTopics() {
	retention := map[string]string{"retention.ms": "123000"}
	saramaCreate("admin-topics", 3, retention)
	saramaAdmin(func(admin sarama.ClusterAdmin) {
		found, err := admin.ListTopics()
		must(err)
		equal(found["admin-topics"].NumPartitions, 3, "partitions")
		equal(*found["admin-topics"].ConfigEntries["retention.ms"], "123000", "retention.ms")
		err = admin.CreateTopic("admin-topics", &sarama.TopicDetail{NumPartitions: 3, ReplicationFactor: 1}, false)
		check(errors.Is(err, sarama.ErrTopicAlreadyExists), "%v", err)
		must(admin.DeleteTopic("admin-topics"))
		until("it is gone", func() bool {
			found, err := admin.ListTopics()
			must(err)
			_, known := found["admin-topics"]
			return !known
		})
	})
}

func saramaConfigs() {
	topic := saramaCreate("admin-configs", 1, map[string]string{"retention.ms": "123000"})
	saramaAdmin(func(admin sarama.ClusterAdmin) {
		value := func() string {
			resource := sarama.ConfigResource{Type: sarama.TopicResource, Name: topic, ConfigNames: []string{"retention.ms"}}
			found, err := admin.DescribeConfig(resource)
			must(err)
			return found[0].Value
		}
		equal(value(), "123000", "retention.ms")
		other := "456000"
		set := sarama.IncrementalAlterConfigsEntry{Operation: sarama.IncrementalAlterConfigsOperationSet, Value: &other}
		change := map[string]sarama.IncrementalAlterConfigsEntry{"retention.ms": set}
		must(admin.IncrementalAlterConfig(sarama.TopicResource, topic, change, false))
		equal(value(), "456000", "retention.ms")
		third := "789000"
		must(admin.AlterConfig(sarama.TopicResource, topic, map[string]*string{"retention.ms": &third}, false))
		equal(value(), "789000", "retention.ms")
	})
}

func saramaGroups() {
	group := "admin-groups"
	saramaFill(group)
	one := saramaJoin(group, 100)
	until("all records", func() bool { return len(one.records()) == 100 })
	saramaAdmin(func(admin sarama.ClusterAdmin) {
		described, err := admin.DescribeConsumerGroups([]string{group})
		must(err)
		equal(described[0].State, "Stable", "state")
		equal(len(described[0].Members), 1, "members")
		one.leave()
		listed, err := admin.ListConsumerGroups()
		must(err)
		equal(listed[group], "consumer", "protocol type")
		offsets, err := admin.ListConsumerGroupOffsets(group, map[string][]int32{group: {0, 1, 2, 3}})
		must(err)
		equal(offsets.GetBlock(group, 2).Offset, 25, "committed offset")
		must(admin.DeleteConsumerGroup(group))
		listed, err = admin.ListConsumerGroups()
		must(err)
		_, known := listed[group]
		check(!known, "it is still listed")
	})
}
