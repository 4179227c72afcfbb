// Kafka's own Java client against a broker; the same source runs on kafka-clients 3.9 and 4.x.
//
//   java -cp 'JARS/*' Matrix.java BOOTSTRAP RECORDS.JSON [CASE...]
//
// Runs the named cases (all without names) and prints one JSON line for each, as python/common.py says.

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.File;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.Config;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.ConsumerGroupDescription;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.CooperativeStickyAssignor;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.consumer.OffsetAndTimestamp;
import org.apache.kafka.clients.consumer.RoundRobinAssignor;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.RecordTooLargeException;
import org.apache.kafka.common.errors.TopicExistsException;
import org.apache.kafka.common.errors.UnknownTopicOrPartitionException;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

public class Matrix {
    interface Case { void run() throws Exception; }
    interface Condition { boolean holds() throws Exception; }

    /** A record as it must come back; its text form is compared. */
    record Row(long timestamp, byte[] key, byte[] value, List<Header> headers) {
        String text() {
            StringBuilder text = new StringBuilder().append(timestamp).append(Arrays.toString(key)).append(Arrays.toString(value));
            for (Header header : headers) text.append(header.key()).append('=').append(Arrays.toString(header.value()));
            return text.toString();
        }
    }

    static final long CASE_SECONDS = 180, WAIT_SECONDS = 150; // Generous, for a loaded machine.
    static final ObjectMapper JSON = new ObjectMapper();
    static String bootstrap;
    static Admin admin;
    static List<Row> shapes;
    static final Map<String, Case> CASES = new LinkedHashMap<>();

    public static void main(String[] arguments) throws Exception {
        bootstrap = arguments[0];
        shapes = shapes(new File(arguments[1]));
        admin = Admin.create(Map.of("bootstrap.servers", bootstrap));
        register();
        List<String> names = arguments.length > 2
            ? Arrays.asList(arguments).subList(2, arguments.length) : new ArrayList<>(CASES.keySet());
        for (String name : names) System.out.println(JSON.writeValueAsString(outcome(name)));
        System.exit(0);
    }

    static ObjectNode outcome(String name) {
        ObjectNode line = JSON.createObjectNode().put("case", name);
        long start = System.nanoTime();
        ExecutorService thread = Executors.newSingleThreadExecutor();
        try {
            Case body = CASES.get(name);
            if (body == null) throw new IllegalArgumentException("no such case");
            Future<?> running = thread.submit((Callable<Void>) () -> { body.run(); return null; });
            running.get(CASE_SECONDS, TimeUnit.SECONDS);
            line.put("ok", true);
        } catch (Throwable error) {
            StringWriter trace = new StringWriter();
            error.printStackTrace(new PrintWriter(trace));
            line.put("ok", false).put("error", trace.toString());
        }
        thread.shutdownNow();
        return line.put("ms", (System.nanoTime() - start) / 1_000_000);
    }

    static void register() {
        for (String codec : List.of("none", "gzip", "snappy", "lz4", "zstd")) CASES.put("compressed-" + codec, () -> compressed(codec));
        for (String level : List.of("0", "1", "all")) CASES.put("acks-" + level, () -> acks(level));
        CASES.put("record-shapes", Matrix::recordShapes);
        CASES.put("write-for-grpc", () -> produce("kafka-to-grpc", shapes, Map.of()));
        CASES.put("read-from-grpc", () -> same(read("grpc-to-kafka", shapes.size()), shapes));
        CASES.put("large-message", Matrix::largeMessage);
        CASES.put("too-large-message", Matrix::tooLargeMessage);
        CASES.put("idempotent", Matrix::idempotent);
        CASES.put("automatic-topic", Matrix::automaticTopic);
        CASES.put("seek-and-times", Matrix::seekAndTimes);
        String roundRobin = RoundRobinAssignor.class.getName(), cooperative = CooperativeStickyAssignor.class.getName();
        CASES.put("group-commit", () -> commitAndRestart("group-commit", Map.of()));
        CASES.put("group-members", () -> joinAndLeave("group-members", Map.of()));
        CASES.put("group-roundrobin", () -> joinAndLeave("group-roundrobin", Map.of("partition.assignment.strategy", roundRobin)));
        CASES.put("group-cooperative", () -> joinAndLeave("group-cooperative", Map.of("partition.assignment.strategy", cooperative)));
        CASES.put("group-static", () -> staticMember("group-static", Map.of()));
        Map<String, Object> consumer = Map.of("group.protocol", "consumer");
        CASES.put("group-consumer-commit", () -> commitAndRestart("group-consumer-commit", consumer));
        CASES.put("group-consumer-members", () -> joinAndLeave("group-consumer-members", consumer));
        CASES.put("group-consumer-range", () -> joinAndLeave("group-consumer-range",
            Map.of("group.protocol", "consumer", "group.remote.assignor", "range")));
        CASES.put("group-consumer-static", () -> staticMember("group-consumer-static", consumer));
        CASES.put("admin-topics", Matrix::adminTopics);
        CASES.put("admin-partitions", Matrix::adminPartitions);
        CASES.put("admin-configs", Matrix::adminConfigs);
        CASES.put("admin-broker-configs", Matrix::adminBrokerConfigs);
        CASES.put("admin-delete-records", Matrix::adminDeleteRecords);
        CASES.put("admin-list-offsets", Matrix::adminListOffsets);
        CASES.put("admin-groups", Matrix::adminGroups);
    }

    // What the cases are made of.

    static List<Row> shapes(File file) throws Exception {
        List<Row> rows = new ArrayList<>();
        for (JsonNode row : JSON.readTree(file)) {
            List<Header> headers = new ArrayList<>();
            for (JsonNode pair : row.get("headers")) headers.add(new RecordHeader(pair.get(0).asText(), bytes(pair.get(1))));
            rows.add(new Row(row.get("timestamp").asLong(), bytes(row.get("key")), bytes(row.get("value")), headers));
        }
        return rows;
    }

    static byte[] bytes(JsonNode node) throws Exception { return node.isNull() ? null : node.binaryValue(); }

    static List<Row> plain(int count) {
        List<Row> rows = new ArrayList<>();
        for (int number = 0; number < count; number++) {
            byte[] value = new byte[300];
            for (int at = 0; at < value.length; at++) value[at] = (byte) ((number * 7 + at * at) % 64);
            rows.add(new Row(1_600_000_000_000L + number, null, value, List.of()));
        }
        return rows;
    }

    static List<Row> big(int size) {
        byte[] value = new byte[size];
        new Random(7).nextBytes(value);
        return List.of(new Row(1_600_000_000_000L, "big".getBytes(), value, List.of()));
    }

    static void check(boolean condition, Object what) {
        if (!condition) throw new AssertionError(String.valueOf(what));
    }

    static void equal(Object found, Object wanted) {
        check(found.equals(wanted), "found " + found + " but wanted " + wanted);
    }

    static void same(List<Row> found, List<Row> wanted) {
        equal(found.size(), wanted.size());
        for (int at = 0; at < found.size(); at++) equal(found.get(at).text(), wanted.get(at).text());
    }

    static void until(String what, Condition condition) throws Exception {
        long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(WAIT_SECONDS);
        while (!condition.holds()) {
            if (System.nanoTime() > end) throw new AssertionError("waited " + WAIT_SECONDS + " s in vain: " + what);
            Thread.sleep(20);
        }
    }

    static String create(String topic, int partitions, Map<String, String> configs) throws Exception {
        admin.createTopics(List.of(new NewTopic(topic, partitions, (short) 1).configs(configs))).all().get();
        until("the new topic is listed", () -> admin.listTopics().names().get().contains(topic));
        return topic;
    }

    static KafkaProducer<byte[], byte[]> producer(Map<String, ?> settings) {
        Map<String, Object> all = new HashMap<>(Map.of("bootstrap.servers", bootstrap, "linger.ms", 5));
        all.putAll(settings);
        return new KafkaProducer<>(all, new ByteArraySerializer(), new ByteArraySerializer());
    }

    /** Sends to partition 0 and returns the offsets the broker gave. */
    static List<Long> produce(String topic, List<Row> rows, Map<String, ?> settings) throws Exception {
        List<Long> offsets = new ArrayList<>();
        try (KafkaProducer<byte[], byte[]> producer = producer(settings)) {
            List<Future<RecordMetadata>> sent = new ArrayList<>();
            for (Row row : rows) sent.add(producer.send(new ProducerRecord<>(topic, 0, row.timestamp, row.key, row.value, row.headers)));
            for (Future<RecordMetadata> one : sent) offsets.add(one.get().offset());
        }
        return offsets;
    }

    static KafkaConsumer<byte[], byte[]> consumer(String group, Map<String, ?> settings) {
        Map<String, Object> all = new HashMap<>(Map.of("bootstrap.servers", bootstrap, "enable.auto.commit", false,
            "auto.offset.reset", "earliest"));
        // The new protocol has these two at the broker.
        if (!"consumer".equals(settings.get("group.protocol"))) all.put("heartbeat.interval.ms", 300);
        if (group != null) all.put("group.id", group);
        all.putAll(settings);
        return new KafkaConsumer<>(all, new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }

    static List<ConsumerRecord<byte[], byte[]>> take(KafkaConsumer<byte[], byte[]> reader, int count) throws Exception {
        List<ConsumerRecord<byte[], byte[]>> found = new ArrayList<>();
        until(count + " records", () -> {
            reader.poll(Duration.ofMillis(200)).forEach(found::add);
            return found.size() >= count;
        });
        return found;
    }

    static List<Row> read(String topic, int count) throws Exception {
        List<Row> rows = new ArrayList<>();
        try (KafkaConsumer<byte[], byte[]> reader = consumer(null, Map.of("max.partition.fetch.bytes", 1_000_000))) {
            reader.assign(List.of(new TopicPartition(topic, 0)));
            for (ConsumerRecord<byte[], byte[]> record : take(reader, count))
                rows.add(new Row(record.timestamp(), record.key(), record.value(), Arrays.asList(record.headers().toArray())));
        }
        return rows;
    }

    static Throwable failure(Case body) throws Exception {
        try {
            body.run();
        } catch (ExecutionException error) {
            return error.getCause();
        }
        throw new AssertionError("it was accepted");
    }

    // The cases.

    static void compressed(String codec) throws Exception {
        String topic = create("compressed-" + codec, 1, Map.of());
        List<Long> offsets = produce(topic, plain(300), Map.of("compression.type", codec));
        equal(offsets.get(299), 299L);
        same(read(topic, 300), plain(300));
    }

    static void acks(String level) throws Exception {
        String topic = create("acks-" + level, 1, Map.of());
        produce(topic, plain(50), Map.of("acks", level, "enable.idempotence", false));
        same(read(topic, 50), plain(50));
    }

    static void recordShapes() throws Exception {
        String topic = create("record-shapes", 1, Map.of("retention.ms", "-1"));
        produce(topic, shapes, Map.of());
        same(read(topic, shapes.size()), shapes);
    }

    static void largeMessage() throws Exception {
        String topic = create("large-message", 1, Map.of("max.message.bytes", "11000000"));
        produce(topic, big(10_000_000), Map.of("max.request.size", 10_500_000));
        same(read(topic, 1), big(10_000_000));
    }

    static void tooLargeMessage() throws Exception {
        String topic = create("too-large-message", 1, Map.of());
        Throwable error = failure(() -> produce(topic, big(2_000_000), Map.of("max.request.size", 10_500_000)));
        check(error instanceof RecordTooLargeException, error);
    }

    static void idempotent() throws Exception {
        String topic = create("idempotent", 1, Map.of());
        List<Long> offsets = produce(topic, plain(2000), Map.of("enable.idempotence", true, "batch.size", 2000));
        for (int at = 0; at < offsets.size(); at++) equal(offsets.get(at), (long) at);
        same(read(topic, 2000), plain(2000));
    }

    static void automaticTopic() throws Exception {
        produce("automatic-topic", plain(1), Map.of());
        same(read("automatic-topic", 1), plain(1));
    }

    static void seekAndTimes() throws Exception {
        TopicPartition part = new TopicPartition(create("seek-and-times", 1, Map.of("retention.ms", "-1")), 0);
        produce(part.topic(), plain(100), Map.of("batch.size", 2000));
        try (KafkaConsumer<byte[], byte[]> reader = consumer(null, Map.of())) {
            for (int at : List.of(0, 42)) {
                OffsetAndTimestamp found = reader.offsetsForTimes(Map.of(part, 1_600_000_000_000L + at)).get(part);
                equal(found.offset(), (long) at);
                equal(found.timestamp(), 1_600_000_000_000L + at);
            }
            check(reader.offsetsForTimes(Map.of(part, 1_600_000_000_100L)).get(part) == null, "found what is not there");
            equal(reader.beginningOffsets(List.of(part)).get(part), 0L);
            equal(reader.endOffsets(List.of(part)).get(part), 100L);
            reader.assign(List.of(part));
            reader.seek(part, 42);
            equal(take(reader, 1).get(0).offset(), 42L);
        }
    }

    static void fill(String topic) throws Exception {
        create(topic, 4, Map.of());
        try (KafkaProducer<byte[], byte[]> producer = producer(Map.of())) {
            for (int number = 0; number < 100; number++)
                producer.send(new ProducerRecord<>(topic, number % 4, null, String.valueOf(number).getBytes()));
        }
    }

    static Set<Integer> numbers(Collection<ConsumerRecord<byte[], byte[]>> records) {
        Set<Integer> numbers = new TreeSet<>();
        for (ConsumerRecord<byte[], byte[]> record : records) numbers.add(Integer.valueOf(new String(record.value())));
        equal(numbers.size(), records.size());
        return numbers;
    }

    /** What it owns after a poll, which waits for no other member: they may take turns in one thread. */
    static Set<Integer> assigned(KafkaConsumer<?, ?> reader) {
        reader.poll(Duration.ofMillis(50));
        Set<Integer> parts = new TreeSet<>();
        for (TopicPartition part : reader.assignment()) parts.add(part.partition());
        return parts;
    }

    static boolean shared(Set<Integer> one, Set<Integer> other) {
        Set<Integer> all = new HashSet<>(one);
        all.addAll(other);
        return !one.isEmpty() && !other.isEmpty() && all.size() == 4 && one.size() + other.size() == 4;
    }

    static void commitAndRestart(String topic, Map<String, Object> settings) throws Exception {
        fill(topic);
        Map<String, Object> few = new HashMap<>(settings);
        few.put("max.poll.records", 10);
        Set<Integer> seen;
        try (KafkaConsumer<byte[], byte[]> reader = consumer(topic, few)) {
            reader.subscribe(List.of(topic));
            seen = numbers(take(reader, 40));
            reader.commitSync();
        }
        try (KafkaConsumer<byte[], byte[]> reader = consumer(topic, few)) {
            reader.subscribe(List.of(topic));
            Set<Integer> rest = numbers(take(reader, 100 - seen.size()));
            seen.addAll(rest);
            equal(seen.size(), 100);
            Map<TopicPartition, OffsetAndMetadata> commit = new HashMap<>();
            for (int part = 0; part < 4; part++) commit.put(new TopicPartition(topic, part), new OffsetAndMetadata(25, "note " + part));
            reader.commitSync(commit);
            equal(reader.committed(commit.keySet()), commit);
        }
    }

    static void joinAndLeave(String topic, Map<String, Object> settings) throws Exception {
        fill(topic);
        KafkaConsumer<byte[], byte[]> first = consumer(topic, settings), second = consumer(topic, settings);
        first.subscribe(List.of(topic));
        until("one member has all partitions", () -> assigned(first).size() == 4);
        second.subscribe(List.of(topic));
        until("two members share them", () -> shared(assigned(first), assigned(second)));
        first.close();
        until("the other has all of them", () -> assigned(second).size() == 4);
        second.close();
    }

    /** A static member that comes back within its session has its partitions again, and nobody else moved. */
    static void staticMember(String topic, Map<String, Object> settings) throws Exception {
        fill(topic);
        Map<String, Object> one = new HashMap<>(settings), two = new HashMap<>(settings);
        one.put("group.instance.id", "one");
        two.put("group.instance.id", "two");
        KafkaConsumer<byte[], byte[]> first = consumer(topic, one), second = consumer(topic, two);
        first.subscribe(List.of(topic));
        second.subscribe(List.of(topic));
        List<Set<Integer>> parts = new ArrayList<>();
        until("both have some", () -> {
            parts.clear();
            parts.addAll(List.of(assigned(first), assigned(second)));
            return shared(parts.get(0), parts.get(1));
        });
        first.close();
        KafkaConsumer<byte[], byte[]> again = consumer(topic, one);
        again.subscribe(List.of(topic));
        until("it has its own again", () -> assigned(second).equals(parts.get(1)) && assigned(again).equals(parts.get(0)));
        again.close();
        second.close();
    }

    static void adminTopics() throws Exception {
        create("admin-topics", 3, Map.of("retention.ms", "123000"));
        TopicDescription found = admin.describeTopics(List.of("admin-topics")).allTopicNames().get().get("admin-topics");
        equal(found.partitions().size(), 3);
        check(!found.isInternal() && !found.topicId().toString().isEmpty(), found);
        Throwable error = failure(() -> create("admin-topics", 3, Map.of()));
        check(error instanceof TopicExistsException, error);
        admin.deleteTopics(List.of("admin-topics")).all().get();
        until("it is gone", () -> !admin.listTopics().names().get().contains("admin-topics"));
        error = failure(() -> admin.deleteTopics(List.of("admin-topics")).all().get());
        check(error instanceof UnknownTopicOrPartitionException, error);
    }

    static void adminPartitions() throws Exception {
        create("admin-partitions", 2, Map.of());
        admin.createPartitions(Map.of("admin-partitions", NewPartitions.increaseTo(5))).all().get();
        until("five partitions", () -> admin.describeTopics(List.of("admin-partitions")).allTopicNames().get()
            .get("admin-partitions").partitions().size() == 5);
    }

    static Config configs(ConfigResource resource) throws Exception {
        return admin.describeConfigs(List.of(resource)).all().get().get(resource);
    }

    static void alter(ConfigResource resource, String name, String value, AlterConfigOp.OpType kind) throws Exception {
        AlterConfigOp change = new AlterConfigOp(new ConfigEntry(name, value), kind);
        admin.incrementalAlterConfigs(Map.of(resource, List.of(change))).all().get();
    }

    static void adminConfigs() throws Exception {
        ConfigResource topic = new ConfigResource(ConfigResource.Type.TOPIC, create("admin-configs", 1, Map.of("retention.ms", "123000")));
        ConfigEntry retention = configs(topic).get("retention.ms");
        equal(retention.value(), "123000");
        equal(retention.source(), ConfigEntry.ConfigSource.DYNAMIC_TOPIC_CONFIG);
        alter(topic, "cleanup.policy", "compact", AlterConfigOp.OpType.APPEND);
        equal(configs(topic).get("cleanup.policy").value(), "delete,compact");
        alter(topic, "cleanup.policy", "delete", AlterConfigOp.OpType.SUBTRACT);
        equal(configs(topic).get("cleanup.policy").value(), "compact");
        alter(topic, "retention.ms", "", AlterConfigOp.OpType.DELETE);
        equal(configs(topic).get("retention.ms").value(), "604800000");
        check(configs(topic).get("retention.ms").isDefault(), "it is not the default");
    }

    static void adminBrokerConfigs() throws Exception {
        String node = admin.describeCluster().nodes().get().iterator().next().idString();
        Config found = configs(new ConfigResource(ConfigResource.Type.BROKER, node));
        check(found.get("log.retention.ms") != null, "log.retention.ms is missing");
        check(!admin.describeCluster().clusterId().get().isEmpty(), "no cluster id");
    }

    static void adminDeleteRecords() throws Exception {
        TopicPartition part = new TopicPartition(create("admin-delete-records", 1, Map.of()), 0);
        produce(part.topic(), plain(20), Map.of());
        long low = admin.deleteRecords(Map.of(part, RecordsToDelete.beforeOffset(15))).lowWatermarks().get(part).get().lowWatermark();
        equal(low, 15L);
        equal(offset(part, OffsetSpec.earliest()), 15L);
    }

    static long offset(TopicPartition part, OffsetSpec at) throws Exception {
        return admin.listOffsets(Map.of(part, at)).partitionResult(part).get().offset();
    }

    static void adminListOffsets() throws Exception {
        TopicPartition part = new TopicPartition(create("admin-list-offsets", 1, Map.of("retention.ms", "-1")), 0);
        produce(part.topic(), plain(20), Map.of());
        equal(offset(part, OffsetSpec.earliest()), 0L);
        equal(offset(part, OffsetSpec.latest()), 20L);
        equal(offset(part, OffsetSpec.maxTimestamp()), 19L);
        equal(offset(part, OffsetSpec.forTimestamp(1_600_000_000_007L)), 7L);
        equal(offset(part, OffsetSpec.forTimestamp(1_600_000_000_020L)), -1L);
    }

    static boolean listed(String group) throws Exception {
        return admin.listConsumerGroups().all().get().stream().anyMatch(found -> found.groupId().equals(group));
    }

    static void adminGroups() throws Exception {
        String group = "admin-groups";
        fill(group);
        TopicPartition part = new TopicPartition(group, 2);
        try (KafkaConsumer<byte[], byte[]> reader = consumer(group, Map.of())) {
            reader.subscribe(List.of(group));
            take(reader, 100);
            reader.commitSync();
            ConsumerGroupDescription found = admin.describeConsumerGroups(List.of(group)).all().get().get(group);
            equal(found.state().toString(), "Stable");
            equal(found.members().iterator().next().assignment().topicPartitions().size(), 4);
        }
        check(listed(group), "it is not listed");
        equal(admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get().get(part).offset(), 25L);
        admin.alterConsumerGroupOffsets(group, Map.of(part, new OffsetAndMetadata(7))).all().get();
        equal(admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get().get(part).offset(), 7L);
        admin.deleteConsumerGroupOffsets(group, Set.of(part)).all().get();
        check(admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get().get(part) == null, "it is still there");
        admin.deleteConsumerGroups(List.of(group)).all().get();
        check(!listed(group), "it is still listed");
    }
}
