"""Every table of the house, imported so that migrations and tests see them all."""

# ruff: noqa: F401
import console.accounts
import console.anchors
import console.api
import console.identity
import console.tables
import metering.batches
import metering.campaigns
import metering.cases
import metering.forecasting
import metering.intake
import metering.intraday
import metering.judging
import metering.reports
import metering.rollout
import metering.settlement
import metering.simulation
import metering.statements
import metering.surplus
import providers.agents
import providers.assessment
import providers.billing
import providers.comments
import providers.monitoring
import providers.observation
import providers.orders
import quota.attachments
import quota.audit
import quota.calendar
import quota.directory
import quota.inventory
import quota.ledger
import quota.requests
import quota.resource_classes
import quota.sealing
import quota.vault
