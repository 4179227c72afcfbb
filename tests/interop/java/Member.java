// A member of a group, Kafka's Java client's, that reads until it is killed; ../python/member.py says how it is
// called and what it prints.
//
//   java -cp 'JARS/*' Member.java BOOTSTRAP TOPIC PROTOCOL LIMIT

import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.StringDeserializer;

public class Member {
    public static void main(String[] arguments) {
        String topic = arguments[1], protocol = arguments[2];
        long limit = Long.parseLong(arguments[3]);
        Map<String, Object> settings = new HashMap<>(Map.of("bootstrap.servers", arguments[0], "group.id", topic,
            "enable.auto.commit", false, "auto.offset.reset", "earliest", "group.protocol", protocol));
        // The consumer protocol has these two at the broker.
        if (protocol.equals("classic")) settings.putAll(Map.of("session.timeout.ms", 6000, "heartbeat.interval.ms", 500));
        KafkaConsumer<String, String> reader = new KafkaConsumer<>(settings, new StringDeserializer(), new StringDeserializer());
        reader.subscribe(List.of(topic));
        TreeSet<Integer> assigned = null;
        while (true) {
            Map<TopicPartition, OffsetAndMetadata> commit = new HashMap<>();
            for (ConsumerRecord<String, String> record : reader.poll(Duration.ofMillis(100))) {
                System.out.println("{\"read\": [" + record.partition() + ", " + record.offset() + ", \"" + record.value() + "\"]}");
                if (record.offset() < limit) commit.put(new TopicPartition(topic, record.partition()), new OffsetAndMetadata(record.offset() + 1));
            }
            if (!commit.isEmpty()) reader.commitSync(commit);
            TreeSet<Integer> now = new TreeSet<>();
            for (TopicPartition part : reader.assignment()) now.add(part.partition());
            if (!now.equals(assigned)) System.out.println("{\"assigned\": " + now + "}");
            assigned = now;
        }
    }
}
